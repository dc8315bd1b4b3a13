// Wrong tokens: noticed, slowed down by address and by token, and nobody else's trouble.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Guesses } from '../../src/front/guesses.js'
import { kinds, withStage } from './stage.js'

const KINDS = await kinds()

test('of one address, or of one token from wherever, so many are looked at; and no more are remembered than there is room for', (t) => {
  const told: string[] = []
  const guesses = new Guesses((peer) => told.push(peer))
  const waits = Array.from({ length: LIMITS.guessesMax + 5 }, (_, at) => guesses.wrong('::1', `guess ${at}`))
  t.true(waits.slice(0, LIMITS.guessesMax).every((ms) => ms === 0))
  t.true(waits.slice(LIMITS.guessesMax).every((ms) => ms > 0 && ms <= LIMITS.guessMs))
  t.deepEqual(told, ['::1'])
  t.is(guesses.wrong('::2', 'mistyped'), 0, 'another address')
  const spread = Array.from({ length: LIMITS.guessesMax }, (_, at) => guesses.wrong(`of many ${at}`, 'mistyped'))
  t.true(spread.at(-1)! > 0, 'one token from many addresses')
  for (let at = 0; at < 2 * LIMITS.guessersMax; at++) guesses.wrong(`once ${at}`, `once ${at}`)
  t.is(guesses.wrong('::1', 'again'), 0, 'forgotten since')
})

for (const kind of KINDS) {
  test(`${kind}: who guesses is told to wait, and a right token beside it is answered`, async (t) => {
    const logged: string[] = []
    await withStage(kind, { log: (level, message) => void logged.push(`${level}: ${message}`) }, async (stage) => {
      const statuses: number[] = []
      for (let at = 0; at < LIMITS.guessesMax + 2; at++) {
        const { status, headers, body } = await stage.ask({ path: '/metrics', token: `guess ${at}` })
        statuses.push(status)
        if (status !== 429) continue
        t.regex(headers['retry-after']!, /^[1-3]$/)
        t.is(JSON.parse(body).code, 'TOO_MANY_ATTEMPTS')
      }
      t.is(statuses[0], 401)
      t.is(statuses.at(-1), 429)
      await t.throwsAsync(stage.feed(['spacedrive.v1', 'bearer.guess']), { message: '429' })
      t.is((await stage.rpc({ jsonrpc: '2.0', id: 1, method: 'core.ping' })).status, 200)
      t.is((await stage.rpc({}, { token: null })).status, 401, 'who sends none has guessed nothing')
      t.is(stage.front.connections().wrongTokens, LIMITS.guessesMax + 3)
      t.true(logged.some((line) => line.startsWith('warn: many wrong tokens')))
    })
  })
}
