/** Introduction points (SPEC §11.2): who gets what in which order, what liars get, what is kept for how long. By hand, on a fake clock. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ApexAnswer, ApexCall } from '../../relay/apex.ts'
import {
  AWAIT_MS,
  INTRODUCE_MS,
  INTRODUCTION_LIMITS,
  type IntroductionLimits,
  Introductions,
  POINT_GRACE_MS,
  QUEUED_PER_POINT_MAX,
  WAITS_PER_POINT_MAX,
} from '../../relay/introduction/index.ts'
import { piecesOf } from '../../src/bytes/index.ts'
import { findIntroductionWork, introductionPointName } from '../../src/service/index.ts'
import {
  encodeIntroductionRequest,
  type IntroductionReply,
  type IntroductionRequest,
  parseIntroductionReply,
} from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

const never = new AbortController()
const none = new Uint8Array(0)
const token = (byte: number) => new Uint8Array(32).fill(byte)
const point = (byte: number) => introductionPointName(token(byte))

/** One request under way. */
interface Asked {
  /** `null`: no answer yet. */
  readonly reply: (IntroductionReply & { readonly status: string }) | null
  readonly call: ApexCall
  /** The asker's circuit ends. */
  end(): void
}

function start(limits: Partial<IntroductionLimits> = {}) {
  const clock = new FakeClock()
  const introductions = new Introductions({
    clock,
    rng: seededRng('introductions'),
    limits: { ...INTRODUCTION_LIMITS, ...limits },
  })
  const ask = (request: IntroductionRequest | Uint8Array, claimant: object | null = null) => {
    const call = { onEnd: null as (() => void) | null, parks: 0, parked: () => void call.parks++, claimant }
    const asked = {
      reply: null as Asked['reply'],
      call,
      end: () => {
        const { onEnd } = call
        call.onEnd = null
        onEnd?.()
      },
    }
    const bytes = request instanceof Uint8Array ? request : encodeIntroductionRequest(request)
    void introductions.service(bytes, call).then(({ status, body }: ApexAnswer) => {
      assert.equal(call.onEnd, null, 'it hears nothing after the answer')
      const parsed = parseIntroductionReply(Uint8Array.from(piecesOf(body).flatMap((piece) => [...piece])))
      assert.ok(parsed !== null)
      asked.reply = { status, ...parsed }
    })
    bytes.fill(0xee) // borrowed until `parked`
    return asked
  }
  return {
    clock,
    introductions,
    ask,
    await: (byte: number) => ask({ kind: 'await', token: token(byte) }),
    introduce: (byte: number, text: number, work: Uint8Array = none) =>
      ask({ kind: 'introduce', point: point(byte), message: Uint8Array.of(text), work }),
    answer: (byte: number, handle: number, text: number) =>
      ask({ kind: 'answer', token: token(byte), handle, message: Uint8Array.of(text) }),
  }
}

/** There is no answer yet. */
function pends(asked: Asked): void {
  assert.ok(asked.reply === null)
}

const messages = (asked: Asked) => asked.reply?.introductions.map(({ message }) => message[0])

test('a client is answered with what the service answers; neither needs to know more than the name and the token', async () => {
  const it = start()
  const wait = it.await(1)
  await it.clock.settle()
  pends(wait)
  const client = it.introduce(1, 42)
  await it.clock.settle()
  assert.deepEqual(messages(wait), [42])
  pends(client)
  const { handle } = wait.reply!.introductions[0]!
  const said = it.answer(1, handle, 43)
  await it.clock.settle()
  assert.equal(said.reply?.status, 'ok')
  assert.deepEqual([client.reply?.status, client.reply?.message], ['ok', Uint8Array.of(43)])
  assert.deepEqual(it.introductions.figures, { points: 1, messages: 0, handed: 0 })
})

test('a request gives its memory back before it waits', async () => {
  const it = start()
  const wait = it.await(1)
  const client = it.introduce(1, 1)
  await it.clock.settle()
  assert.equal((wait.call as unknown as { parks: number }).parks, 1)
  assert.equal((client.call as unknown as { parks: number }).parks, 1)
})

test('liars: a name that nobody waits at, a wrong token, a handle that was used or guessed, and what is no request', async () => {
  const it = start()
  const nobody = it.introduce(1, 1)
  const guess = it.answer(1, 12_345, 1)
  const wait = it.await(1)
  it.await(2)
  const client = it.introduce(1, 2)
  await it.clock.settle()
  assert.deepEqual([nobody.reply?.status, guess.reply?.status], ['not-found', 'not-found'])
  const { handle } = wait.reply!.introductions[0]!
  assert.ok(Number.isSafeInteger(handle))
  const other = it.answer(2, handle, 66)
  const wrong = it.answer(3, handle, 66)
  const near = it.answer(1, handle + 1, 66)
  await it.clock.settle()
  for (const liar of [other, wrong, near]) assert.equal(liar.reply?.status, 'not-found')
  pends(client)
  it.answer(1, handle, 3)
  const twice = it.answer(1, handle, 4)
  await it.clock.settle()
  assert.deepEqual(client.reply?.message, Uint8Array.of(3))
  assert.equal(twice.reply?.status, 'not-found')
  // The name is not the token: who knows the name cannot wait there.
  const thief = it.ask({ kind: 'await', token: point(1) })
  const again = it.introduce(1, 5)
  await it.clock.settle()
  pends(thief)
  pends(again)
  for (const bytes of [none, Uint8Array.of(1, 2, 3), new Uint8Array(5_000)]) {
    const bad = it.ask(bytes.slice())
    await it.clock.settle()
    assert.equal(bad.reply?.status, 'bad-request')
  }
})

test('what comes while the service does not wait is given to its next wait: at most eight, most work first, then oldest', async () => {
  const it = start()
  it.await(1)
  it.introduce(1, 0)
  await it.clock.settle()
  for (let text = 1; text <= 10; text++) it.introduce(1, text)
  const message = Uint8Array.of(99)
  const worker = it.introduce(1, 99, await findIntroductionWork(point(1), message, 8, { clock: it.clock, signal: never.signal }))
  const claims = it.introduce(1, 98, new Uint8Array(8))
  await it.clock.settle()
  const wait = it.await(1)
  await it.clock.settle()
  const [first, ...rest] = messages(wait)!
  assert.equal(first, 99)
  // A nonce that carries little or nothing by chance may be anywhere among those that brought none.
  assert.deepEqual(
    rest.filter((text) => text !== 98),
    [1, 2, 3, 4, 5, 6, 7].slice(0, rest.filter((text) => text !== 98).length),
  )
  const next = it.await(1)
  await it.clock.settle()
  assert.equal(messages(wait)!.length + messages(next)!.length, 12)
  pends(worker)
  pends(claims)
})

test('a flood at one point: the least work and the youngest go, with BUSY; the other points know nothing of it', async () => {
  const it = start()
  it.await(1).end()
  it.await(2).end()
  await it.clock.settle()
  const flood = Array.from({ length: QUEUED_PER_POINT_MAX + 20 }, (_, at) => it.introduce(1, at & 0xff))
  await it.clock.settle()
  assert.ok(flood.slice(0, QUEUED_PER_POINT_MAX).every(({ reply }) => reply === null))
  assert.ok(flood.slice(QUEUED_PER_POINT_MAX).every(({ reply }) => reply?.status === 'busy'))
  const worker = it.introduce(
    1,
    7,
    await findIntroductionWork(point(1), Uint8Array.of(7), 10, { clock: it.clock, signal: never.signal }),
  )
  await it.clock.settle()
  pends(worker)
  assert.equal(flood[QUEUED_PER_POINT_MAX - 1]!.reply?.status, 'busy')
  const elsewhere = it.introduce(2, 1)
  const wait = it.await(2)
  await it.clock.settle()
  assert.deepEqual(messages(wait), [1])
  pends(elsewhere)
  await it.clock.advance(INTRODUCE_MS)
  assert.equal(it.introductions.figures.messages, 0)
})

test('points and messages under way are bounded over all', async () => {
  const it = start({ points: 3, messages: 5 })
  for (const byte of [1, 2, 3]) it.await(byte)
  const one = it.await(4)
  await it.clock.settle()
  assert.equal(one.reply?.status, 'busy')
  for (let at = 0; at < 5; at++) it.introduce(1 + (at % 3), at)
  const over = it.introduce(1, 9)
  await it.clock.settle()
  assert.equal(over.reply?.status, 'busy')
  assert.equal(it.introductions.figures.messages, 5)
  await it.clock.advance(INTRODUCE_MS)
  assert.equal(it.introductions.figures.handed, 0, 'what the service never answered is forgotten')
  const later = it.introduce(1, 9)
  await it.clock.settle()
  pends(later)
})

test('circuits of one link take no more points than they leave to others, and give them back', async () => {
  const it = start({ points: 8 })
  const [flood, other] = [{}, {}]
  const await_ = (byte: number, claimant: object) => it.ask({ kind: 'await', token: token(byte) }, claimant)
  const flooding = Array.from({ length: 10 }, (_, byte) => await_(byte, flood))
  const honest = [await_(100, other), await_(101, other)]
  await it.clock.settle()
  assert.equal(flooding.filter(({ reply }) => reply?.status === 'busy').length, 6)
  for (const each of honest) pends(each)
  for (const each of [...flooding, ...honest]) each.end()
  await it.clock.advance(POINT_GRACE_MS)
  assert.equal(it.introductions.figures.points, 0)
  const again = Array.from({ length: 4 }, (_, byte) => await_(byte, flood))
  await it.clock.settle()
  for (const each of again) pends(each)
})

test('the newest wait is answered first, and of too many the oldest with nothing: it may be on a loop that is dead', async () => {
  const it = start()
  const old = Array.from({ length: WAITS_PER_POINT_MAX }, () => it.await(1))
  await it.clock.settle()
  const fresh = it.await(1)
  await it.clock.settle()
  assert.deepEqual([old[0]!.reply?.status, messages(old[0]!)], ['ok', []])
  it.introduce(1, 5)
  await it.clock.settle()
  assert.deepEqual(messages(fresh), [5])
  assert.ok(old.slice(1).every(({ reply }) => reply === null))
})

test('an Await without an introduction is answered with none after five minutes', async () => {
  const it = start()
  const wait = it.await(1)
  await it.clock.advance(AWAIT_MS - 1)
  pends(wait)
  await it.clock.advance(1)
  assert.deepEqual([wait.reply?.status, messages(wait)], ['ok', []])
  // The point stays a little, for the next.
  const client = it.introduce(1, 1)
  const next = it.await(1)
  await it.clock.settle()
  assert.deepEqual(messages(next), [1])
  pends(client)
})

test('when the circuit of an Await ends its wait ends; without another the point is gone after a while, and the clients are told', async () => {
  const it = start()
  const wait = it.await(1)
  await it.clock.settle()
  wait.end()
  const client = it.introduce(1, 1)
  await it.clock.settle()
  assert.equal(wait.reply?.introductions.length, 0)
  pends(client)
  await it.clock.advance(INTRODUCE_MS)
  assert.equal(client.reply?.status, 'busy')
  await it.clock.advance(POINT_GRACE_MS - INTRODUCE_MS - 1)
  const last = it.introduce(1, 2)
  await it.clock.advance(1)
  assert.equal(last.reply?.status, 'busy')
  assert.deepEqual(it.introductions.figures, { points: 0, messages: 0, handed: 0 })
  const gone = it.introduce(1, 3)
  await it.clock.settle()
  assert.equal(gone.reply?.status, 'not-found')
  assert.equal(it.clock.pendingTimers, 0)
})

test('when the circuit of an Introduce ends nobody gets its message, and its handle is void', async () => {
  const it = start()
  it.await(1).end()
  const client = it.introduce(1, 1)
  const other = it.introduce(1, 2)
  await it.clock.settle()
  client.end()
  const wait = it.await(1)
  await it.clock.settle()
  assert.deepEqual(messages(wait), [2])
  other.end()
  const late = it.answer(1, wait.reply!.introductions[0]!.handle, 9)
  await it.clock.settle()
  assert.equal(late.reply?.status, 'not-found')
  assert.deepEqual(it.introductions.figures, { points: 1, messages: 0, handed: 0 })
})

test('a node asks itself by the same rules, and stops with its signal', async () => {
  const it = start()
  const stop = new AbortController()
  const request = encodeIntroductionRequest({ kind: 'await', token: token(1) })
  const waiting = it.introductions.askLocally(request, stop)
  const client = it.introduce(1, 8)
  const reply = parseIntroductionReply((await it.clock.runFor(waiting)).body as Uint8Array)!
  assert.equal(reply.introductions.length, 1)
  const said = { kind: 'answer', token: token(1), handle: reply.introductions[0]!.handle, message: Uint8Array.of(9) } as const
  assert.equal((await it.introductions.askLocally(encodeIntroductionRequest(said), never)).status, 'ok')
  await it.clock.settle()
  assert.deepEqual(client.reply?.message, Uint8Array.of(9))
  const second = it.introductions.askLocally(request, stop)
  stop.abort(new Error('enough'))
  await assert.rejects(second, /enough/)
  await it.clock.advance(POINT_GRACE_MS)
  assert.deepEqual(it.introductions.figures, { points: 0, messages: 0, handed: 0 })
  assert.equal(it.clock.pendingTimers, 0)
})

test('closing answers all and leaves no timer', async () => {
  const it = start()
  const wait = it.await(1)
  it.await(2)
  const handed = it.introduce(2, 1)
  it.await(3).end()
  const queued = it.introduce(3, 1)
  await it.clock.settle()
  it.introductions.close()
  const after = it.await(4)
  await it.clock.settle()
  assert.deepEqual(
    [wait, handed, queued, after].map(({ reply }) => reply?.status),
    ['ok', 'busy', 'busy', 'refused'],
  )
  assert.deepEqual(it.introductions.figures, { points: 0, messages: 0, handed: 0 })
  assert.equal(it.clock.pendingTimers, 0)
})
