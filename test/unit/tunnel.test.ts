/** Two streams joined: ends and breaks travel as what they are, and nothing is held open for ever. */
import assert from 'node:assert/strict'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { Duplex, PassThrough } from 'node:stream'
import { after, before, test } from 'node:test'
import { HALF_CLOSED_IDLE_MS, joinStreams, TUNNEL_IDLE_MS } from '../../client/proxy/tunnel.ts'
import { Watch } from '../../client/proxy/watch.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { eventually } from '../support/processes.ts'

let server: Server
const accepted: ((socket: Socket) => void)[] = []
before(async () => {
  server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    accepted.shift()?.(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
after(() => server.close())

interface Joined {
  /** The client's own end. */
  readonly far: Socket
  readonly service: Duplex
  /** What the service was sent. */
  readonly inward: PassThrough
  /** What the service sends. */
  readonly outward: PassThrough
  readonly clock: FakeClock
  readonly stop: AbortController
  over: boolean
  /** How the client's connection came to its end. */
  fate: 'open' | 'end' | 'break'
}

async function join(): Promise<Joined> {
  const { promise, resolve } = Promise.withResolvers<Socket>()
  accepted.push(resolve)
  const far = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
  const inward = new PassThrough()
  const outward = new PassThrough()
  const service = Duplex.from({ writable: inward, readable: outward })
  const clock = new FakeClock()
  const stop = new AbortController()
  const joined: Joined = { far, service, inward, outward, clock, stop, over: false, fate: 'open' }
  far
    .on('error', () => (joined.fate = 'break'))
    .on('end', () => (joined.fate = 'end'))
    .resume()
  joinStreams(await promise, service, { clock, signal: stop.signal }).then(() => (joined.over = true))
  return joined
}

test('an end of either side leaves the other direction open; two ends are the end', async () => {
  for (const clientFirst of [true, false]) {
    const joined = await join()
    const { far, inward, outward, clock } = joined
    let heard = ''
    let said = ''
    far.on('data', (chunk) => (heard += chunk))
    inward.on('data', (chunk) => (said += chunk))
    if (clientFirst) {
      far.end('question')
      await eventually('the service sees the end', () => inward.readableEnded)
      outward.end('answer')
    } else {
      outward.end('answer')
      await eventually('the client sees the end', () => joined.fate === 'end')
      far.end('question')
    }
    await eventually('it is over', () => joined.over)
    assert.deepEqual([said, heard, joined.fate, clock.pendingTimers], ['question', 'answer', 'end', 0])
  }
})

test('a break of either side is a break for the other', async () => {
  const one = await join()
  one.service.destroy(new Error('a loop died'))
  await eventually('the client sees a break', () => one.fate === 'break' && one.over)
  const two = await join()
  two.far.resetAndDestroy()
  await eventually('the service is closed', () => two.service.destroyed && two.over)
  const three = await join()
  three.stop.abort(new Error('stopping'))
  await eventually('both are closed', () => three.fate === 'break' && three.service.destroyed && three.over)
  assert.equal(one.clock.pendingTimers + two.clock.pendingTimers + three.clock.pendingTimers, 0)
})

test('a tunnel in which nothing moves is closed, sooner when one side has ended', async () => {
  const one = await join()
  one.inward.resume()
  await one.clock.advance(TUNNEL_IDLE_MS - 1)
  let heard = 0
  one.far.on('data', (chunk) => (heard += chunk.length))
  one.outward.write('still here')
  await eventually('it came through', () => heard > 0)
  await one.clock.advance(TUNNEL_IDLE_MS - 1)
  assert.equal(one.over, false)
  await one.clock.advance(1)
  await eventually('it is closed', () => one.over && one.fate === 'break')

  const two = await join()
  two.inward.resume()
  two.far.end()
  await eventually('the service sees the end', () => two.inward.readableEnded)
  await two.clock.advance(HALF_CLOSED_IDLE_MS)
  await eventually('it is closed', () => two.over)
})

test('a watch calls once, only when nothing moved, and never when it was stopped', async () => {
  const clock = new FakeClock()
  let calls = 0
  const watch = new Watch(clock, 100, () => calls++)
  for (let at = 0; at < 5; at++) {
    await clock.advance(60)
    watch.touch()
  }
  assert.equal(calls, 0)
  await clock.advance(99)
  assert.equal(calls, 0)
  await clock.advance(200)
  assert.deepEqual([calls, clock.pendingTimers], [1, 0])
  new Watch(clock, 100, () => calls++).stop()
  await clock.advance(200)
  assert.deepEqual([calls, clock.pendingTimers], [1, 0])
})
