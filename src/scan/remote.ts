// File systems of which the kernel here hears only what it asks for, and whose clock is another one.
import { statfsSync } from 'node:fs'

/** As `statfs` has them, from linux/magic.h and the sources of those that are not there. */
const REMOTE = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xfe534d42, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0x65735546, 'FUSE'],
  [0x01021997, '9P'],
  [0x00c36400, 'Ceph'],
  [0x5346414f, 'AFS'],
  [0x6b414653, 'AFS'],
  [0x73757245, 'Coda'],
  [0x0bd00bd0, 'Lustre'],
  [0x19830326, 'BeeGFS'],
  [0x47504653, 'GPFS'],
  [0x01161970, 'GFS2'],
  [0x7461636f, 'OCFS2'],
  [0x20030528, 'OrangeFS'],
  [0x786f4256, 'VirtualBox'],
  [0xbacbacbc, 'VMware'],
])

/** Whose disk is another machine's, or a program's: none where that cannot be told. */
export function remoteAt(path: Buffer, fileSystem = (at: Buffer) => statfsSync(at).type): string | null {
  try {
    return REMOTE.get(fileSystem(path) >>> 0) ?? null
  } catch {
    return null
  }
}
