// Who asks, and on which machine: read from the environment and the account files, since the calls for it fail without a descriptor.
import { homedir } from 'node:os'
import type { Environment } from '../base/places.js'
import { textOf } from './files.js'
import { Linux } from './linux.js'
import type { Machine, Person } from './machine.js'
import { MacOS } from './macos.js'

/** @param root before every path that is configuration, for tests; empty is the machine itself */
export function machineHere(env: Environment, root = '', platform: string = process.platform): Machine {
  const person = personOf(env, root)
  return platform === 'darwin' ? new MacOS(person, root) : new Linux(person, { root, proc: '/proc' })
}

/** Under sudo it is the one who typed it: whose login, profile and data directory are meant. */
export function personOf(env: Environment, root = '', own = process.getuid?.() ?? 0): Person {
  const behind = own === 0 && /^\d+$/.test(env.SUDO_UID ?? '') ? Number(env.SUDO_UID) : own
  return behind === own ? accountOf(own, env, root) : accountOf(behind, { USER: env.SUDO_USER }, root)
}

function accountOf(uid: number, env: Environment, root: string): Person {
  const account = rows(`${root}/etc/passwd`).find((row) => row[2] === String(uid))
  const user = account?.[0] ?? env.USER ?? env.LOGNAME ?? String(uid)
  const ownGroups = uid === process.getuid?.() ? (process.getgroups?.() ?? []) : []
  const gids = new Set([account?.[3], ...ownGroups.map(String)])
  const groups = rows(`${root}/etc/group`).filter((row) => gids.has(row[2]) || row[3]?.split(',').includes(user))
  return {
    uid,
    user,
    groups: groups.map(([name = '']) => name),
    home: env.HOME || account?.[5] || homedir(),
    shell: env.SHELL || account?.[6] || '/bin/sh',
  }
}

function rows(path: string): string[][] {
  return (textOf(path) ?? '').split('\n').map((line) => line.split(':'))
}
