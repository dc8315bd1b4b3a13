// Who gives way when connections are short, and who never does.
import { setImmediate as nextTurn } from 'node:timers/promises'
import test from 'ava'
import net from 'node:net'
import type { Dispatch, Reply } from '../../src/protocol/messages.js'
import { closeIdle, Shares } from '../../src/front/idle.js'
import { nativeProblem } from '../../src/descriptors/native.js'
import { closing, kinds, ping, pong, reader, rpcText, sleep, until, withStage, type Stage } from './stage.js'

const blind = nativeProblem() !== null || process.platform !== 'linux'

interface Guest {
  readonly socket: net.Socket
  got: string
  closed: boolean
}

/**
 * @param from an address of the loopback, or null: by the unix socket
 * @param lingers it does not close when the other side does
 */
function guest(stage: Stage, from: string | null = '127.0.0.1', lingers = false): Guest {
  const { port, socket: path } = stage
  const to = from === null ? { path } : { port, host: '127.0.0.1', localAddress: from }
  const socket = net.connect({ ...to, allowHalfOpen: lingers })
  const one: Guest = { socket, got: '', closed: false }
  socket.on('data', (part) => (one.got += part.toString()))
  socket.on('error', () => undefined)
  socket.on('close', () => (one.closed = true))
  return one
}

async function entered(stage: Stage, count: number, from?: string): Promise<Guest[]> {
  const guests: Guest[] = []
  for (let at = 0; at < count; at += 1) {
    const { accepted } = stage.front.connections()
    guests.push(guest(stage, from))
    await until(() => stage.front.connections().accepted > accepted, 'it is let in')
  }
  return guests
}

/** Let in, or refused and closed. */
async function decided(stage: Stage, from?: string): Promise<Guest> {
  const { accepted, refused } = stage.front.connections()
  const one = guest(stage, from)
  await until(() => {
    const now = stage.front.connections()
    return now.accepted > accepted || (now.refused > refused && one.closed)
  }, 'the gate decides')
  return one
}

function ask({ port }: Stage, { socket }: Guest, method: string): void {
  socket.write(rpcText(port, { jsonrpc: '2.0', id: 1, method }))
}

function upgrade({ socket }: Guest): void {
  const lines = [
    'GET /ws HTTP/1.1',
    'Host: localhost',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: spacedrive.v1',
  ]
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
}

function decisions({ front }: Stage): number {
  const { accepted, refused } = front.connections()
  return accepted + refused
}

function leave(guests: readonly Guest[]): void {
  for (const { socket } of guests) socket.destroy()
}

for (const kind of await kinds()) {
  const front = (sentence: string) => `${kind}: ${sentence}`

  test(
    front('WebSockets that two looks in a row find idle are closed once, and whoever is closed is asked no more'),
    (t) =>
      withStage(kind, {}, async (stage) => {
        const feeds = await Promise.all([stage.feed(), stage.feed(), stage.feed()])
        const told = Promise.all(feeds.map(closing))
        t.is(stage.front.giveWay({ count: 10, idleMs: 0 }), 3)
        t.is(stage.front.giveWay({ count: 10, idleMs: 0 }), 3)
        t.deepEqual(await told, [1013, 1013, 1013])
        await until(() => stage.slots.used.clients === 0, 'their slots are back')
      }),
  )

  // See what gives way there instead, below.
  const seen = kind === 'uws' && blind ? () => undefined : test

  seen(front('idle connections give way, the longest idle first, and no more than asked'), (t) =>
    withStage(kind, {}, async (stage) => {
      const guests = await entered(stage, 3)
      // Longer than a step of the kernel's clock, so that it tells the first from the others.
      await sleep(50)
      ask(stage, guests[0]!, 'core.ping')
      await until(() => guests[0]!.got.includes('pong'), 'the first was answered')
      await sleep(300)
      // Between what the three did last and the coming of the fourth, however long the rest of this takes.
      const middle = performance.now()
      const sinceMiddle = () => performance.now() - middle
      await sleep(300)
      const late = await entered(stage, 1)
      t.is(stage.front.giveWay({ count: 10, idleMs: sinceMiddle() + 60_000 }), 0)
      t.is(stage.front.giveWay({ count: 1, idleMs: sinceMiddle() }), 1)
      await until(() => stage.slots.used.clients === 3, 'its slot is back')
      await until(() => guests.some(({ closed }) => closed), 'and it has heard of it')
      t.deepEqual(guests.map(({ closed }) => closed).toSorted(), [false, false, true])
      t.false(guests[0]!.closed, 'the first was used last')
      t.is(stage.front.giveWay({ count: 10, idleMs: sinceMiddle() }), 2)
      await until(() => stage.slots.used.clients === 1, 'theirs too')
      t.false(late[0]!.closed)
      leave([...guests, ...late])
    }),
  )

  seen(front('who has a request in flight never gives way, however long it takes'), (t) => {
    const waiting: ((reply: Reply) => void)[] = []
    const dispatch: Dispatch = (request, answer) => {
      if (request.operation === 'core.ping') answer({ ok: true, json: '"pong"' })
      else waiting.push(answer)
    }
    return withStage(kind, { dispatch }, async (stage) => {
      const [worker, half, idle] = (await entered(stage, 3)) as [Guest, Guest, Guest]
      for (const each of [worker, half, idle]) ask(stage, each, 'core.ping')
      await until(() => [worker, half, idle].every(({ got }) => got.includes('pong')), 'all were answered')
      // Right after the answer, as a client in a loop does: the kernel's clock tells no difference.
      ask(stage, worker, 'core.status')
      await sleep(50)
      half.socket.write('POST /rpc HTTP/1.1\r\nHost: x\r\n')
      await until(() => waiting.length === 1, 'it is in flight')
      await sleep(1_000)
      // What is idle and what is in flight cannot be told apart here if both began at the same moment: it stays.
      t.true(stage.front.giveWay({ count: 10, idleMs: 500 }) <= 1)
      await sleep(50)
      t.false(worker.closed)
      t.false(half.closed)
      waiting[0]!({ ok: true, json: '"late"' })
      await until(() => worker.got.includes('late'), 'it is answered')
      await sleep(600)
      stage.front.giveWay({ count: 10, idleMs: 500 })
      await until(() => worker.closed && idle.closed, 'now they give way')
      t.false(half.closed)
      leave([half])
    })
  })

  const forms = kind === 'uws' && blind ? (['a WebSocket'] as const) : (['a WebSocket', 'a connection'] as const)
  for (const form of forms) {
    test(front(`${form} whose request has arrived, but was not read yet, is served`), (t) =>
      withStage(kind, { dispatch: pong }, async (stage) => {
        const feed = form === 'a WebSocket' ? await stage.feed() : null
        const one = feed ? null : (await entered(stage, 1))[0]!
        const answer = feed && reader(feed)
        if (one) ask(stage, one, 'core.ping')
        else feed!.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'core.ping' }))
        await (answer ? answer() : until(() => one!.got.includes('pong'), 'it was answered'))
        await sleep(400)
        // Written to the kernel at once; this process reads it when this turn of its loop is over.
        const given = await new Promise<number>((resolve) => {
          setTimeout(() => {
            if (one) ask(stage, one, 'core.status')
            else feed!.send(JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'core.status' }))
            resolve(stage.front.giveWay({ count: 1, idleMs: 300 }))
          })
        })
        t.true(given <= 1)
        if (answer) t.is((await answer()).result, 'pong')
        else await until(() => one!.got.split('pong').length === 3, 'it is answered')
        await sleep(50)
        t.is(stage.slots.used.clients, 1, 'and it keeps its place')
        feed?.close()
        if (one) leave([one])
      }),
    )
  }

  test(front('an idle WebSocket is told why; one with a subscription or a request in flight stays'), (t) => {
    const waiting: ((reply: Reply) => void)[] = []
    const dispatch: Dispatch = (request, answer) => {
      if (request.operation === 'core.ping') answer({ ok: true, json: '"pong"' })
      else waiting.push(answer)
    }
    return withStage(kind, { dispatch }, async (stage) => {
      const subscriber = await stage.feed()
      const next = reader(subscriber)
      subscriber.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'events.subscribe', params: {} }))
      await next()
      const worker = await stage.feed()
      worker.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'core.status' }))
      await until(() => waiting.length === 1, 'it is in flight')
      const idle = await stage.feed()
      const told = new Promise<string>((resolve) => idle.on('close', (code, why) => resolve(`${code} ${String(why)}`)))
      await sleep(300)
      t.is(stage.front.giveWay({ count: 10, idleMs: 200 }), 1)
      t.is(await told, '1013 idle, and others need the connection')
      await until(() => stage.slots.used.clients === 2, 'its slot is back')
      const answer = reader(worker)
      waiting[0]!({ ok: true, json: '"late"' })
      t.is((await answer()).result, 'late')
      stage.bell.ring()
      t.is((await next()).method, 'event')
      await Promise.all([subscriber, worker].map((each) => (each.close(), closing(each))))
    })
  })

  if (kind === 'uws' && blind) {
    test(front('where no connection is known only WebSockets give way; under pressure answers end theirs'), (t) =>
      withStage(kind, { clients: 4, newcomerIdleMs: 200 }, async (stage) => {
        const guests = await entered(stage, 3)
        const feed = await stage.feed()
        const told = new Promise<number>((resolve) => feed.on('close', resolve))
        await sleep(300)
        t.is(stage.front.giveWay({ count: 10, idleMs: 60_000 }), 0)
        t.is((await stage.rpc(ping(1))).status, 503)
        t.is(await told, 1013, 'for the newcomer')
        await until(() => stage.slots.used.clients === 3, 'its slot is back')
        t.is((await stage.rpc(ping(1))).status, 200)
        await until(() => stage.slots.used.clients === 3, 'the newcomer has left')
        t.is(stage.front.giveWay({ count: 10, idleMs: 0 }), 0)
        await sleep(50)
        t.deepEqual(
          guests.map(({ closed }) => closed),
          [false, false, false],
          'nobody may be closed who may be at work',
        )
        ask(stage, guests[0]!, 'core.ping')
        await until(() => guests[0]!.got.includes('pong'), 'it is answered')
        t.false(guests[0]!.closed)
        stage.front.level = 'high'
        ask(stage, guests[0]!, 'core.ping')
        await until(() => guests[0]!.closed, 'this was the last answer')
        t.is(guests[0]!.got.split('pong').length, 3)
        leave(guests)
      }),
    )
  }

  seen(front('a newcomer that finds all taken has idle ones closed, so that it gets in when it comes again'), (t) =>
    withStage(kind, { clients: 8, newcomerIdleMs: 200 }, async (stage) => {
      const guests = await entered(stage, 8)
      await sleep(300)
      t.is((await stage.rpc(ping(1))).status, 503)
      await until(() => guests.some(({ closed }) => closed), 'one gives way')
      t.is((await stage.rpc(ping(1))).status, 200)
      t.is(guests.filter(({ closed }) => closed).length, 1, 'one in eight of the idle')
      leave(guests)
    }),
  )

  seen(front('a peer alone may have all; when another comes it gives way to its share, and is refused first'), (t) =>
    withStage(kind, { clients: 20, dispatch: pong }, async (stage) => {
      const greedy = await entered(stage, 20)
      const others: Guest[] = []
      const open = () => others.filter(({ closed }) => !closed).length
      // As a client that is refused does: it comes again.
      for (let at = 0; open() < 10 && at < 400; at += 1) {
        others.push(await decided(stage, '127.0.0.2'))
        await sleep(20)
      }
      t.is(open(), 10, 'half of them')
      await until(() => greedy.filter(({ closed }) => !closed).length <= 10, 'those who gave way have heard of it')
      t.is(greedy.filter(({ closed }) => !closed).length, 10)
      const more = await decided(stage)
      await until(() => more.closed, 'the greedy one is refused')
      t.regex(more.got, /"CONNECTION_LIMIT".*every connection|"CONNECTION_LIMIT".*more than its share/)
      t.is(open(), 10)
      leave([...greedy, ...others])
    }),
  )

  seen(
    front(
      'a process with every connection on the unix socket gives way to those who come by TCP, and gets in for control',
    ),
    (t) =>
      withStage(kind, { clients: 20 }, async (stage) => {
        const greedy: Guest[] = []
        const local = () => guest(stage, null)
        for (let at = 0; at < 20; at += 1) {
          greedy.push(local())
          await until(() => stage.front.connections().accepted === at + 1, 'it is let in')
        }
        // On uWebSockets a connection of the unix socket that says nothing is closed by time alone.
        const feeds = kind === 'uws'
        if (feeds) for (const one of greedy) upgrade(one)
        if (feeds) await until(() => greedy.every(({ got }) => got.includes('101')), 'they are WebSockets')
        const others: Guest[] = []
        const open = () => others.filter(({ closed }) => !closed).length
        for (let at = 0; open() < 10 && at < 400; at += 1) {
          others.push(await decided(stage))
          await sleep(20)
        }
        t.is(open(), 10, 'half of them')
        const control = local()
        await until(() => stage.slots.used.control === 1, 'it has its share, and is let in on a slot of control')
        t.false(control.closed)
        leave([...greedy, ...others, control])
      }),
  )

  seen(front('of a peer that takes its time to close no more have to go than it has above its share'), (t) =>
    withStage(kind, { clients: 20 }, async (stage) => {
      const greedy: Guest[] = []
      for (let at = 0; at < 20; at += 1) {
        greedy.push(guest(stage, null, true))
        await until(() => stage.front.connections().accepted === at + 1, 'it is let in')
        upgrade(greedy[at]!)
      }
      await until(() => greedy.every(({ got }) => got.includes('101')), 'they are WebSockets')
      const told = () => greedy.filter(({ got }) => !got.endsWith('\r\n\r\n')).length
      const others: Guest[] = []
      const come = async () => {
        others.push(await decided(stage))
        await sleep(20)
      }
      for (let at = 0; told() < 10 && at < 400; at += 1) await come()
      for (let at = 0; at < 30; at += 1) await come()
      t.is(told(), 10, 'half of them')
      // With node:http the place is another's once the peer has closed.
      if (kind === 'uws') t.is(others.filter(({ closed }) => !closed).length, 10)
      leave([...greedy, ...others])
    }),
  )

  seen(front('a peer whose connections are gone again is not refused for the share that it had'), (t) =>
    withStage(kind, { clients: 20 }, async (stage) => {
      const greedy = await entered(stage, 20)
      const others: Guest[] = []
      const isLetIn = async (from: string) => {
        const { accepted } = stage.front.connections()
        others.push(await decided(stage, from))
        return stage.front.connections().accepted > accepted
      }
      const open = () => others.filter(({ closed }) => !closed).length
      for (let at = 0; open() < 10 && at < 400; at += 1) await isLetIn('127.0.0.2').then(() => sleep(20))
      t.is(open(), 10, 'half of them')
      // Once it has left it may be counted again before it comes the first time.
      t.false(await isLetIn('127.0.0.1'), 'it has its share')
      leave(greedy)
      await until(() => stage.slots.used.clients === 10, 'only the others are left')
      let times = 0
      while (!(await isLetIn('127.0.0.1'))) {
        times += 1
        await sleep(20)
      }
      t.true((stage.front.connections().refusedBy.share ?? 0) > 0)
      // What it had counted for five seconds.
      t.true(times <= 50, `refused ${times} times`)
      leave(others)
    }),
  )

  seen(front('who comes with many at once finds room for all of its share when it comes again'), (t) =>
    withStage(kind, { clients: 200 }, async (stage) => {
      const greedy = await entered(stage, 200)
      const others: Guest[] = []
      // Who was refused may not have heard of it yet.
      const open = () => stage.front.connections().accepted - greedy.length
      let rounds = 0
      for (; open() < 100 && rounds < 20; rounds += 1) {
        const before = decisions(stage)
        const coming = 100 - open()
        for (let at = 0; at < coming; at += 1) others.push(guest(stage, '127.0.0.2'))
        await until(() => decisions(stage) === before + coming, 'the gate decides')
        await sleep(150)
      }
      t.is(open(), 100, 'half of them')
      t.true(rounds <= 5, `${rounds} rounds`)
      leave([...greedy, ...others])
    }),
  )
}

test('what is divided is all that was held when it was contested, and not what is left while some give way', (t) => {
  const shares = new Shares()
  shares.refused('b')
  t.deepEqual(shares.weigh(new Map([['a', 200]])), { over: new Map([['a', 100]]), wanted: 1 })
  t.true(shares.full('a'))
  shares.weigh(
    new Map([
      ['a', 97],
      ['b', 96],
    ]),
  )
  t.false(shares.full('b'))
})

test('of very many that are idle those go that were it for the longest', async (t) => {
  const closed: number[] = []
  const idle = Array.from({ length: 5_000 }, (_, at) => {
    const idleMs = (at * 7_919) % 5_000
    return { idleMs, peer: '', close: () => void closed.push(idleMs) }
  })
  for (const count of [0, 1, 40, 5_000, 6_000]) {
    closed.length = 0
    const most = Math.min(count, 5_000)
    t.is(closeIdle(idle, count), most)
    await nextTurn()
    t.deepEqual(
      closed,
      Array.from({ length: most }, (_, at) => 4_999 - at),
    )
  }
})
