// Where a limit is written down: read as pam_limits, systemd and the shells read it.
import test from 'ava'
import { ofLimitsFiles, ofProfiles, ofSystemdDefaults, ofUnit, ulimitIn } from '../../src/doctor/origin.js'
import { ADA, ground, ROOT_PERSON } from './ground.js'

const LIMITS_CONF = '/etc/security/limits.conf'

test('of limits.conf and limits.d the entry of the user counts before the group, and that before everybody', (t) => {
  using here = ground({
    [LIMITS_CONF]: '# a comment\n*  soft nofile 1000\n@staff soft nofile 2000 # and one behind\n* hard nofile 9000\n',
    '/etc/security/limits.d/10-more.conf': '* soft nofile 3000\n',
    '/etc/security/limits.d/not-read': 'ada soft nofile 7\n',
  })
  t.like(ofLimitsFiles(here.root, ADA, 'soft'), { value: 2000, file: LIMITS_CONF, line: 3 })
  t.like(ofLimitsFiles(here.root, { ...ADA, groups: [] }, 'soft'), {
    value: 3000,
    file: '/etc/security/limits.d/10-more.conf',
  })
  t.like(ofLimitsFiles(here.root, ADA, 'hard'), { value: 9000, line: 4 })
  here.write('/etc/security/limits.d/20-ada.conf', 'ada - nofile unlimited\n')
  t.like(ofLimitsFiles(here.root, ADA, 'soft'), { value: Number.MAX_SAFE_INTEGER, line: 1 })
  here.write('/etc/security/limits.d/30-range.conf', '900:1100 soft nofile 5000\n2000: soft nofile 1\n')
  t.like(ofLimitsFiles(here.root, ADA, 'soft'), { value: 5000 })
})

test('what is said of everybody or of a group does not hold for root, who must be named', (t) => {
  using here = ground({ [LIMITS_CONF]: '* soft nofile 65536\n@root soft nofile 65536\n' })
  t.is(ofLimitsFiles(here.root, ROOT_PERSON, 'soft'), null)
  here.write(LIMITS_CONF, '* soft nofile 65536\nroot soft nofile 5000\n')
  t.like(ofLimitsFiles(here.root, ROOT_PERSON, 'soft'), { value: 5000, line: 2 })
})

test('of a unit the last drop-in counts, and one in /etc hides one of the same name elsewhere', (t) => {
  const unit = { name: 'spacedrive.service', ofUser: false }
  using here = ground({ '/usr/lib/systemd/system/spacedrive.service': '[Service]\nLimitNOFILE=4096\n' })
  t.like(ofUnit(here.root, unit, ADA, 'hard'), { value: 4096, line: 2 })
  here.write('/usr/lib/systemd/system/spacedrive.service.d/b.conf', '[Service]\nLimitNOFILE=1024:8192\n')
  t.like(ofUnit(here.root, unit, ADA, 'soft'), { value: 1024 })
  t.like(ofUnit(here.root, unit, ADA, 'hard'), { value: 8192 })
  here.write('/etc/systemd/system/spacedrive.service.d/b.conf', '[Service]\nLimitNOFILE=infinity\n')
  t.like(ofUnit(here.root, unit, ADA, 'hard'), {
    value: Number.MAX_SAFE_INTEGER,
    file: '/etc/systemd/system/spacedrive.service.d/b.conf',
  })
  t.is(ofUnit(here.root, { ...unit, ofUser: true }, ADA, 'hard'), null)
  here.write('/home/ada/.config/systemd/user/spacedrive.service', '[Service]\nLimitNOFILE = 77\n')
  t.like(ofUnit(here.root, { ...unit, ofUser: true }, ADA, 'hard'), { value: 77 })
})

test("systemd's defaults are those of system.conf and what is dropped in", (t) => {
  using here = ground({ '/etc/systemd/system.conf': '[Manager]\n#DefaultLimitNOFILE=1:2\n' })
  t.is(ofSystemdDefaults(here.root, 'hard'), null)
  here.write('/etc/systemd/system.conf.d/limits.conf', '[Manager]\nDefaultLimitNOFILE=1024:4096\n')
  t.like(ofSystemdDefaults(here.root, 'hard'), { value: 4096, line: 2 })
})

test('a ulimit in a profile is found, and what it sets', (t) => {
  t.deepEqual(ulimitIn('ulimit -n 65536'), { halves: ['soft', 'hard'], value: 65536 })
  t.deepEqual(ulimitIn('  ulimit -S -n 4096 # soft'), { halves: ['soft'], value: 4096 })
  t.deepEqual(ulimitIn('[ -t 0 ] && ulimit -Hn unlimited'), { halves: ['hard'], value: Number.MAX_SAFE_INTEGER })
  t.is(ulimitIn('# ulimit -n 1'), null)
  t.is(ulimitIn('ulimit -c 0'), null)
  using here = ground({ '/etc/profile': 'ulimit -n 100\n', '/home/ada/.bashrc': 'true\nulimit -Sn 200\n' })
  t.like(ofProfiles(here.root, ADA, 'soft'), { value: 200, file: '/home/ada/.bashrc', line: 2 })
  t.like(ofProfiles(here.root, ADA, 'hard'), { value: 100, file: '/etc/profile' })
})
