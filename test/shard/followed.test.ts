// What a watcher tells of a tree that changes all the time ends in an index that is as the disk.
import { linkSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import test from 'ava'
import type { LocationRules } from '../../src/protocol/operations.js'
import { Chance, disturb } from '../harness/churn.js'
import { addon, polledEvery, pursue, triedAgainAtOnce, type Pursuit } from '../harness/pursuit.js'
import { index, indexed } from '../library/stage.js'

if (!addon) console.log('not run: watching by inotify, because there is no inotify or no native addon')
const watching = addon ? test.serial : test.serial.skip

watching('what is renamed or moved keeps its id, and so does what lies below it', async (t) => {
  await pursue(async (pursuit, at) => {
    const before = indexed(pursuit.library, pursuit.location)
    renameSync(at('d0/deep'), at('d1/moved'))
    renameSync(at('d1'), at('renamed'))
    renameSync(at('d2/deep/file 2'), at('d3/deep/deeper/other name'))
    mkdirSync(at('new'))
    renameSync(at('d4'), at('new/d4'))
    await pursuit.catchUp()
    t.deepEqual(pursuit.differences(), [])
    const ids = ['d0/deep', 'd0/deep/file 0', 'd1', 'd2/deep/file 2', 'd4/deep/file 4'].map(
      (path) => before.get(path)?.id,
    )
    const now = ['renamed/moved', 'renamed/moved/file 0', 'renamed', 'd3/deep/deeper/other name', 'new/d4/deep/file 4']
    t.deepEqual(
      now.map((path) => pursuit.idOf(path)),
      ids,
    )
    // It is watched at its new place.
    writeFileSync(at('new/d4/deep/deeper/late'), 'text')
    writeFileSync(at('renamed/moved/deeper/late'), 'text')
    await pursuit.catchUp()
    t.deepEqual(pursuit.differences(), [])
    t.is(pursuit.scans, 0)
  })
})

watching('directories that change places, and a new one under an old name, are told apart', async (t) => {
  await pursue(async (pursuit, at) => {
    for (const round of [1, 2, 3]) {
      renameSync(at('d0'), at('for a moment'))
      renameSync(at('d1'), at('d0'))
      renameSync(at('for a moment'), at('d1'))
      renameSync(at('d2'), at(`d2 of round ${round}`))
      mkdirSync(at('d2/within'), { recursive: true })
      await pursuit.step()
      writeFileSync(at('d2/within/file'), `round ${round}`)
      writeFileSync(at(`d2 of round ${round}/file`), `round ${round}`)
      writeFileSync(at(`d0/deep/of round ${round}`), 'text')
      await pursuit.catchUp()
      t.deepEqual(pursuit.differences(), [], `round ${round}`)
    }
    t.is(pursuit.scans, 0)
  })
})

for (const seed of [1, 11, 28]) {
  watching(`thousands of random changes at random moments end in the index of a fresh scan (${seed})`, async (t) => {
    await pursue(async (pursuit, at) => {
      const chance = new Chance(seed)
      for (let change = 0; change < 500; change++) {
        disturb(at(''), chance)
        if (chance.below(4) === 0) await pursuit.step()
        if (chance.below(100) === 0) await pursuit.catchUp()
      }
      await pursuit.catchUp()
      t.deepEqual(pursuit.differences(), [])
      t.is(pursuit.scans, 0, 'by what the kernel told alone')
    })
  })
}

watching('a file with several names is written under one of them, and known under all', async (t) => {
  await pursue(async (pursuit, at) => {
    linkSync(at('d0/deep/file 0'), at('d1/link'))
    linkSync(at('d0/deep/file 0'), at('d2/deep/link'))
    await pursuit.catchUp()
    writeFileSync(at('d1/link'), 'longer than before')
    await pursuit.catchUp()
    t.deepEqual(pursuit.differences(), [])
    writeFileSync(at('d1/link'), 'written under a name that is gone before anybody looks')
    rmSync(at('d1/link'))
    await pursuit.catchUp()
    t.deepEqual(pursuit.differences(), [])
    linkSync(at('d2/deep/link'), at('d2/deep/twin'))
    await pursuit.catchUp()
    writeFileSync(at('d2/deep/link'), 'under both')
    utimesSync(at('d2/deep/twin'), 1, 2)
    await pursuit.catchUp()
    t.deepEqual(pursuit.differences(), [], 'counted once for each')
    t.is(pursuit.scans, 0)
  })
})

watching(
  'where directories cannot be opened for want of descriptors nothing is lost, and nothing is given up',
  async (t) => {
    using _limits = triedAgainAtOnce()
    await pursue(async (pursuit, at) => {
      const chance = new Chance(4)
      for (let change = 0; change < 300; change++) {
        pursuit.failing = chance.below(3) > 0
        disturb(at(''), chance)
        if (chance.below(4) === 0) await pursuit.step()
        if (chance.below(60) === 0) pursuit.overflow()
      }
      t.true(pursuit.failures > 20, `${pursuit.failures} opens failed`)
      pursuit.failing = false
      await pursuit.catchUp()
      t.deepEqual(pursuit.differences(), [])
      t.is(pursuit.followed.tree.coverage.polled, 0)
    })
  },
)

watching(
  'what changes between any two looks at the disk is not missed, and nothing is told of one directory for another',
  async (t) => {
    for (let seed = 1; seed <= 12; seed++) {
      await pursue(async (pursuit, at) => {
        const chance = new Chance(seed)
        pursuit.meanwhile = () => {
          if (chance.below(6) === 0) disturb(at(''), chance)
        }
        for (let step = 0; step < 40; step++) {
          if (chance.below(2) === 0) disturb(at(''), chance)
          await pursuit.step()
        }
        pursuit.meanwhile = () => {}
        await pursuit.catchUp()
        t.deepEqual(pursuit.differences(), [], `seed ${seed}`)
      })
    }
  },
)

watching('when the queue overflows all watches are proven again, and the tree is scanned', async (t) => {
  using _limits = polledEvery(0)
  await pursue(async (pursuit, at) => {
    pursuit.deaf = true
    renameSync(at('d0/deep'), at('d1/moved'))
    mkdirSync(at('d2/new/newer'), { recursive: true })
    rmSync(at('d3'), { recursive: true })
    renameSync(at('d4'), at('d3'))
    mkdirSync(at('d4/deep/deeper'), { recursive: true })
    await pursuit.catchUp()
    t.not(pursuit.differences().length, 0, 'nothing was heard of it')
    pursuit.deaf = false
    pursuit.overflow()
    await pursuit.catchUp()
    t.deepEqual(pursuit.differences(), [])
    t.is(pursuit.scans, 1)
    for (const path of ['d1/moved/deeper', 'd2/new/newer', 'd3/deep/deeper', 'd4/deep/deeper']) {
      writeFileSync(at(`${path}/late`), 'text')
    }
    await pursuit.catchUp()
    t.deepEqual(pursuit.differences(), [], 'each is watched where it is now')
    t.is(pursuit.scans, 1)
  })
})

watching('directories past the limit of watches are polled, and watched once that is raised', async (t) => {
  using _limits = polledEvery(0)
  await pursue(
    async (pursuit, at) => {
      const { live, polled } = pursuit.followed.tree.coverage
      t.deepEqual([live, polled], [7, 12])
      for (let each = 0; each < 6; each++) {
        renameSync(at(`d${each}/deep/file ${each}`), at(`d${(each + 1) % 6}/deep/deeper/moved ${each}`))
        mkdirSync(at(`d${each}/deep/new`))
        writeFileSync(at(`d${each}/deep/new/file`), 'text')
      }
      await pursuit.catchUp()
      t.deepEqual(pursuit.differences(), [])
      pursuit.watchesMax = Infinity
      await pursuit.catchUp()
      t.deepEqual({ ...pursuit.followed.tree.coverage }, { state: 'watched', live: 25, polled: 0 })
      t.is(pursuit.scans, 0)
    },
    { watchesMax: 7 },
  )
})

watching('without inotify everything is polled, and random changes are found all the same', async (t) => {
  using _limits = polledEvery(0)
  await pursue(
    async (pursuit, at) => {
      const chance = new Chance(5)
      for (let change = 0; change < 200; change++) {
        disturb(at(''), chance)
        if (chance.below(10) === 0) await pursuit.step()
      }
      await pursuit.catchUp()
      t.deepEqual(pursuit.differences(), [])
      t.is(pursuit.followed.tree.coverage.live, 0)
    },
    { watchesMax: 0 },
  )
})

watching('what is left out is neither watched nor told; a root that is gone takes nothing with it', async (t) => {
  using _limits = polledEvery(0)
  await pursue(
    async (pursuit, at) => {
      const root = at('').replace(/\/$/, '')
      writeFileSync(at('d0/own/database'), 'text')
      mkdirSync(at('d0/own/deeper'))
      writeFileSync(at('d0/other'), 'text')
      await pursuit.catchUp()
      t.is(pursuit.idOf('d0/own'), undefined)
      t.true(pursuit.idOf('d0/other')! > 0)

      const before = indexed(pursuit.library, pursuit.location)
      renameSync(root, `${root} aside`)
      writeFileSync(`${root} aside/d1/new`, 'text')
      await pursuit.catchUp()
      t.is(pursuit.followed.tree.coverage.state, 'absent')
      t.deepEqual(indexed(pursuit.library, pursuit.location), before)
      renameSync(`${root} aside`, root)
      await pursuit.catchUp()
      t.is(pursuit.followed.tree.coverage.state, 'watched')
      t.true(pursuit.idOf('d1/new')! > 0)
      t.is(pursuit.idOf('d5/deep/file 5'), before.get('d5/deep/file 5')!.id)
    },
    { leftOut: 'd0/own' },
  )
})

const RULES: LocationRules = { gitignore: true, noGit: true, noHidden: true, reject: ['own'], ignore: ['!kept.log'] }

/** As an index of its own has it: no entry that a rule leaves out, all others. */
async function asNew({ stage, library, location }: Pursuit): Promise<string[]> {
  const other = stage.open(stage.create('Other'))
  const again = await index(other, stage.tree, { rules: library.locations.get(location).rules! })
  const [ours, theirs] = [[library, location] as const, [other, again] as const].map(([each, uid]) =>
    [...indexed(each, uid).keys()].sort(),
  )
  stage.close(other)
  return [...ours!.filter((path) => !theirs!.includes(path)), ...theirs!.filter((path) => !ours!.includes(path))]
}

watching('what rules leave out costs no watch, and what they let in is followed', async (t) => {
  await pursue(
    async (pursuit, at) => {
      const { tree } = pursuit.followed
      t.is(tree.coverage.live, 19)
      mkdirSync(at('d0/own/deep'), { recursive: true })
      mkdirSync(at('d0/.hidden/deep'), { recursive: true })
      mkdirSync(at('d0/open/deep'), { recursive: true })
      writeFileSync(at('d0/own/file'), 'x')
      writeFileSync(at('d0/a.log'), 'x')
      await pursuit.catchUp()
      t.is(tree.coverage.live, 21)
      t.truthy(pursuit.idOf('d0/a.log'))
      t.is(pursuit.idOf('d0/own'), undefined)

      // A repository and its rules, made while it is watched.
      mkdirSync(at('.git/info'), { recursive: true })
      writeFileSync(at('.gitignore'), '*.log\nopen/\n')
      writeFileSync(at('d1/kept.log'), 'x')
      await pursuit.catchUp()
      t.is(pursuit.idOf('d0/a.log'), undefined)
      t.is(pursuit.idOf('d0/open'), undefined)
      t.truthy(pursuit.idOf('d1/kept.log'))
      t.is(tree.coverage.live, 19)

      writeFileSync(at('d0/.gitignore'), '!a.log\n')
      renameSync(at('d0/open'), at('d0/opened'))
      await pursuit.catchUp()
      t.truthy(pursuit.idOf('d0/a.log'))
      t.truthy(pursuit.idOf('d0/opened/deep'))
      t.is(tree.coverage.live, 21)

      // Nobody tells of this file, because its directory is left out; the next change finds it.
      writeFileSync(at('.git/info/exclude'), 'excluded\n')
      writeFileSync(at('d2/excluded'), 'x')
      writeFileSync(at('d2/other'), 'x')
      await pursuit.catchUp()
      t.is(pursuit.idOf('d2/excluded'), undefined)
      t.truthy(pursuit.idOf('d2/other'))
      t.deepEqual(await asNew(pursuit), [])
      t.is(pursuit.scans, 0)
    },
    { rules: RULES },
  )
})

watching('random changes under rules end in the index that a scan would make', async (t) => {
  await pursue(
    async (pursuit, at) => {
      const chance = new Chance(7)
      mkdirSync(at('.git'))
      const lines = ['n1*', '!n11', 'n?/', '/n3', 'd1', '!*/', 'deep/', 'n4/**/n5']
      for (let round = 0; round < 12; round++) {
        for (let change = 0; change < 25; change++) disturb(pursuit.stage.tree, chance)
        const some = lines.filter(() => chance.below(3) === 0)
        if (round % 3 === 0) writeFileSync(at('.gitignore'), some.join('\n'))
        await pursuit.catchUp()
        t.deepEqual(await asNew(pursuit), [], `round ${round}, ${some.join(' ')}`)
      }
    },
    { rules: { ...RULES, reject: ['n2'] } },
  )
})
