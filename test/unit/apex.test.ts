/** What origins can make an apex hold, and for how long (SPEC §5.3). Streams by hand, a fake clock. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ANSWER_TIMEOUT_MS,
  APEX_BYTES_MAX,
  APEX_LINK_BYTES_MAX,
  Apex,
  type HopPort,
  REQUEST_TIMEOUT_MS,
  REQUESTS_BURST,
  REQUESTS_PER_SECOND,
  STREAM_BYTES,
} from '../../relay/apex.ts'
import { concat, le32 } from '../../src/bytes/index.ts'
import { type MuxStream, ResetCode, type StreamEvents } from '../../src/stream/index.ts'
import { encodeHopRequest } from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** A stream that nobody reads from. */
class UnreadStream implements MuxStream {
  readonly id = 1
  queuedBytes = 0
  resetWith: number | null = null
  write(chunk: Uint8Array): void {
    this.queuedBytes += chunk.length
  }
  end(): void {}
  reset(code: number): void {
    this.resetWith = code
  }
  consumed(): void {}
}

/** A circuit that takes no exchange. */
const NO_PORT = { attach: () => false }

function startApex() {
  const clock = new FakeClock()
  const store = async () => ({ status: 'ok', body: new Uint8Array(0) }) as const
  return { clock, apex: new Apex({ services: { store }, clock }) }
}

/** Circuits that come in by a link of their own. */
const portOf = (claimant: object) => ({ ...NO_PORT, claimant })

/** A request of 64 KiB that begins and never ends, on a circuit of this link. */
function beginLarge(apex: Apex, claimant: object): UnreadStream {
  const stream = new UnreadStream()
  const events = apex.accept(stream, portOf(claimant))
  assert.ok(typeof events !== 'number')
  events.onData(le32(65_536), 0, 4)
  return stream
}

/** Opens a stream that the apex must take. */
function open(apex: Apex): { readonly stream: UnreadStream; readonly events: StreamEvents } {
  const stream = new UnreadStream()
  const events = apex.accept(stream, NO_PORT)
  assert.ok(typeof events !== 'number')
  return { stream, events }
}

test('streams that carry nothing are charged too, refused above the limit, and gone after the time for a request', async () => {
  const { clock, apex } = startApex()
  const streams = Array.from({ length: APEX_BYTES_MAX / STREAM_BYTES }, () => open(apex))
  assert.equal(apex.accept(new UnreadStream(), NO_PORT), ResetCode.BUSY)
  streams[0]!.events.onClose(null)
  open(apex)
  assert.equal(apex.accept(new UnreadStream(), NO_PORT), ResetCode.BUSY)
  await clock.advance(REQUEST_TIMEOUT_MS)
  assert.ok(streams.slice(1).every(({ stream }) => stream.resetWith === ResetCode.REFUSED))
  assert.ok(apex.hold(APEX_BYTES_MAX), 'nothing is held any more')
})

test('an answer that nobody takes is dropped after a while, and its memory is free again', async () => {
  const { clock, apex } = startApex()
  const { stream, events } = open(apex)
  const request = encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 60_000 })
  const message = concat(le32(request.length), request)
  events.onData(message, 0, message.length)
  events.onFin()
  await clock.settle()
  assert.ok(stream.queuedBytes > 60_000)
  assert.equal(apex.hold(APEX_BYTES_MAX - 60_000), false)
  await clock.advance(ANSWER_TIMEOUT_MS - 1)
  assert.equal(stream.resetWith, null)
  await clock.advance(1)
  assert.equal(stream.resetWith, ResetCode.CANCELLED)
  assert.ok(apex.hold(APEX_BYTES_MAX))
})

test('an answer that was taken leaves no timer', async () => {
  const { clock, apex } = startApex()
  const { stream, events } = open(apex)
  const request = encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 10 })
  const message = concat(le32(request.length), request)
  events.onData(message, 0, message.length)
  events.onFin()
  await clock.settle()
  events.onClose(null)
  await clock.advance(2 * ANSWER_TIMEOUT_MS)
  assert.equal(stream.resetWith, null)
  assert.ok(apex.hold(APEX_BYTES_MAX))
})

test('circuits of one link hold a quarter; what of it has waited longest goes, and other links notice nothing', () => {
  const { apex } = startApex()
  const [flooded, other] = [{}, {}]
  const others = Array.from({ length: 10 }, () => beginLarge(apex, other))
  const flood = Array.from({ length: 3_000 }, () => beginLarge(apex, flooded))
  assert.ok(apex.heldBytes <= APEX_LINK_BYTES_MAX + 10 * (65_536 + STREAM_BYTES))
  const alive = flood.filter(({ resetWith }) => resetWith === null)
  assert.equal(alive.length, Math.floor(APEX_LINK_BYTES_MAX / (65_536 + STREAM_BYTES)))
  assert.deepEqual(alive, flood.slice(-alive.length), 'the oldest went')
  assert.ok(flood.slice(0, -alive.length).every(({ resetWith }) => resetWith === ResetCode.BUSY))
  assert.ok(others.every(({ resetWith }) => resetWith === null))
})

test('requests that circuits of one link bring have a rate; those of others and of this node do not wait for it', async () => {
  const { clock, apex } = startApex()
  const [flooded, other] = [{}, {}]
  const accept = (port: HopPort) => {
    const stream = new UnreadStream()
    const events = apex.accept(stream, port)
    if (typeof events === 'number') return events
    events.onClose(null)
    return 'taken'
  }
  const taken = (port: HopPort, asked: number) => Array.from({ length: asked }, () => accept(port)).filter((it) => it === 'taken')
  assert.equal(taken(portOf(flooded), 10_000).length, REQUESTS_BURST)
  assert.equal(accept(portOf(flooded)), ResetCode.BUSY)
  assert.equal(taken(portOf(other), 100).length, 100)
  assert.equal(taken(NO_PORT, 10_000).length, 10_000)
  await clock.advance(1_000)
  assert.equal(taken(portOf(flooded), 10_000).length, REQUESTS_PER_SECOND)
})

test('many links that flood: each has as much as the others, and who comes then is served', () => {
  const { apex } = startApex()
  const floods = Array.from({ length: 12 }, () => ({}))
  const streams = floods.map((): UnreadStream[] => [])
  for (let round = 0; round < 1_000; round++)
    for (const [at, flood] of floods.entries()) streams[at]!.push(beginLarge(apex, flood))
  assert.ok(apex.heldBytes <= APEX_BYTES_MAX)
  const held = streams.map((list) => list.filter(({ resetWith }) => resetWith === null).length)
  assert.ok(Math.max(...held) <= Math.min(...held) + 2, held.join())
  const honest = {}
  for (let at = 0; at < 100; at++) assert.equal(beginLarge(apex, honest).resetWith, null)
})

test('at the limit of all the one goes that has waited longest on the link that has most', () => {
  const { apex } = startApex()
  const [most, less] = [{}, {}]
  const first = beginLarge(apex, most)
  const second = beginLarge(apex, most)
  const small = beginLarge(apex, less)
  assert.ok(apex.hold(APEX_BYTES_MAX - apex.heldBytes), 'this node itself has the rest')
  assert.ok(apex.hold(10))
  assert.deepEqual(
    [first, second, small].map(({ resetWith }) => resetWith),
    [ResetCode.BUSY, null, null],
  )
})

test('what is being answered, or waits at an introduction point, does not go for others', async () => {
  const clock = new FakeClock()
  const never = new Promise<never>(() => {})
  const apex = new Apex({ services: { store: () => never }, clock })
  const link = {}
  const stream = new UnreadStream()
  const events = apex.accept(stream, portOf(link))
  assert.ok(typeof events !== 'number')
  const request = encodeHopRequest({ kind: 'store', request: new Uint8Array(100) })
  const message = concat(le32(request.length), request)
  events.onData(message, 0, message.length)
  events.onFin()
  await clock.settle()
  for (let at = 0; at < 3_000; at++) beginLarge(apex, link)
  assert.equal(stream.resetWith, null)
  events.onClose(null)
})
