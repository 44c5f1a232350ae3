/** What the clients of a node's services can make it hold: sessions, and the memory of all of them together. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HostSessions, KEPT_BYTES_MAX, OPENED_AT_ONCE, OPENED_PER_SEC, SessionRoom } from '../../client/service/sessions.ts'
import { nodeIdOf } from '../../src/bytes/index.ts'
import {
  type Met,
  type ServiceSession,
  Session,
  type SessionEvents,
  type SessionFigures,
  type SessionStream,
  StreamReset,
} from '../../src/service/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SessionPair, spanOf } from '../support/session-pair.ts'

const self = nodeIdOf(new Uint8Array(32).fill(1))

/** Sessions of which a test says what they hold. */
function hosted(clock: FakeClock, room: SessionRoom) {
  const kept = new Map<ServiceSession, number>()
  const opens: NonNullable<SessionEvents['onOpen']>[] = []
  const sessions = new HostSessions({
    self,
    loops: { take: () => Promise.reject(new Error('no loop is needed')), release: () => {} },
    joinLocally: () => ({ loop: 0, waiting: 0, wake: () => {}, close: () => {} }),
    room,
    makeSession: (ticket, events) => {
      opens.push(events.onOpen!)
      const session = new Session({ role: 'service', ticket, clock, events })
      Object.defineProperty(session, 'figures', {
        get: (): Partial<SessionFigures> => ({ heldBytes: 0, keptBytes: kept.get(session) ?? 0 }),
      })
      return session
    },
    onOpen: () => StreamReset.CANCELLED,
    clock,
  })
  let drawn = 0
  const meet = async (bytes: number): Promise<ServiceSession> => {
    const before = new Set(kept.keys())
    const id = new Uint8Array(16)
    id[0] = ++drawn
    const met: Met = {
      kind: 'met',
      answer: new Uint8Array(0),
      node: Buffer.from(self, 'hex'),
      established: {
        resumed: false,
        ticket: { id, secret: new Uint8Array(32) },
        keys: { toService: new Uint8Array(32).fill(drawn), toClient: new Uint8Array(32).fill(100 + drawn) },
        meetingCookie: new Uint8Array(32),
        seconds: 0,
      },
    }
    const made = room.all()
    await sessions.meet(met)
    const session = room.all().find((each) => !made.includes(each) && !before.has(each))!
    kept.set(session, bytes)
    return session
  }
  return { sessions, meet, opens }
}

test('the memory of all sessions of a node is bounded: at the limit the one goes that holds most', async () => {
  const clock = new FakeClock()
  const room = new SessionRoom()
  const [one, other] = [hosted(clock, room), hosted(clock, room)]
  const small = await one.meet(KEPT_BYTES_MAX / 4)
  const large = await other.meet(KEPT_BYTES_MAX / 2)
  await clock.advance(1_000)
  one.sessions.tick()
  assert.deepEqual([small.over, large.over], [false, false])
  const last = await one.meet(KEPT_BYTES_MAX / 3)
  await clock.advance(1_000)
  one.sessions.tick()
  assert.deepEqual([small.over, large.over, last.over], [false, true, false])
  assert.equal(room.taken, 2)
  one.sessions.close()
  other.sessions.close()
  assert.equal(room.taken, 0)
})

test('a client that opens and resets without end gets so many connections a second to the target, and no more', async () => {
  const clock = new FakeClock()
  const { sessions, meet, opens } = hosted(clock, new SessionRoom())
  await meet(0)
  await meet(0)
  const open = (client: number, count: number) => {
    let taken = 0
    for (let one = 0; one < count; one++) if (opens[client]!({} as SessionStream) !== StreamReset.BUSY) taken++
    return taken
  }
  assert.equal(open(0, 5_000), OPENED_AT_ONCE)
  assert.equal(open(1, 10), 10, 'another client has its own share')
  await clock.advance(2_000)
  assert.equal(open(0, 5_000), 2 * OPENED_PER_SEC)
  sessions.close()
})

test('a session says what it keeps: what is not read, and what lies ahead of gaps with the memory for it', () => {
  const pair = new SessionPair({
    onOpen: (_stream, ear) => {
      ear.reading = false
      return undefined
    },
  })
  pair.join()
  const ear = pair.open()
  ear.stream!.write(spanOf(1, 0, 50_000))
  pair.until(() => pair.heard.get(1)?.received === 50_000, 2_000)
  assert.equal(pair.service.figures.keptBytes, 50_000)
  pair.heard.get(1)!.read()
  assert.equal(pair.service.figures.keptBytes, 0)
})
