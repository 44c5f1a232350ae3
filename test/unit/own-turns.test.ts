/** What a user begins goes in small pieces, each in a turn of the event loop of its own: no link's tick waits for several (ARCHITECTURE D-109). */
import assert from 'node:assert/strict'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { bodyOf } from '../../client/api/body.ts'
import type { LoopSource } from '../../client/loops/lease.ts'
import { ShareSessions } from '../../client/shares.ts'
import { nodeIdOf } from '../../src/bytes/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

const rng = seededRng('own turns')
const [self, other] = [nodeIdOf(rng.bytes(32)), nodeIdOf(rng.bytes(32))]
const ASKS = 12

/** How many asks have taken a place after each turn. */
async function takenByTurn(takesPerAsk: boolean): Promise<number[]> {
  const clock = new FakeClock()
  let taken = 0
  const take = () => {
    taken++
    return new Promise<never>(() => {})
  }
  const view = { size: 30, version: 1, get: () => undefined, all: () => [], linked: () => [] } as DirectoryView
  const local = async () => ({ status: 'ok', body: new Uint8Array(0) }) as const
  const pool = { takesPerAsk, take, release: () => {} } as unknown as LoopSource
  const sessions = new ShareSessions({ self, view, pool, local, localRecords: local, clock })
  const { signal } = new AbortController()
  for (let at = 0; at < ASKS; at++)
    void sessions
      .fresh(`user ${at % 2}`)
      .getShare(other, rng.bytes(32), { signal })
      .catch(() => {})
  const seen: number[] = []
  do {
    await new Promise((resolve) => setImmediate(resolve)) // promises have run
    seen.push(taken)
  } while (clock.runTurns())
  return seen
}

test('over paced loops one ask begins in a turn', async () => {
  const seen = await takenByTurn(true)
  for (let at = 1; at < seen.length; at++) assert.ok(seen[at]! - seen[at - 1]! <= 1, seen.join(' '))
  assert.ok(seen[0]! <= 1)
  assert.equal(seen.at(-1), ASKS)
})

test('where loops make no claim of time, none waits', async () => {
  assert.equal((await takenByTurn(false))[0], ASKS)
})

test('a body that is there at once is handed on a piece in a turn', async () => {
  const clock = new FakeClock()
  const sent = rng.bytes(200_000)
  const request = new IncomingMessage(new Socket())
  request.push(Buffer.from(sent.subarray(0, 150_000)))
  request.push(Buffer.from(sent.subarray(150_000)))
  request.push(null)
  request.complete = true
  const pieces: Uint8Array[] = []
  const { signal } = new AbortController()
  const reading = (async () => {
    for await (const piece of bodyOf(request, { clock, signal })) pieces.push(piece.slice())
  })()
  const seen: number[] = []
  for (let turn = 0; turn < 50; turn++) {
    await new Promise((resolve) => setImmediate(resolve)) // promises and the stream have run
    seen.push(pieces.length)
    clock.runTurns()
  }
  await reading
  assert.deepEqual(Buffer.concat(pieces), Buffer.from(sent))
  assert.ok(pieces.every(({ length }) => length <= 32 * 1024))
  for (let at = 1; at < seen.length; at++) assert.ok(seen[at]! - seen[at - 1]! <= 1, seen.join(' '))
})
