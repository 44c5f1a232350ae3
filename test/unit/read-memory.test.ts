/** What a node remembers of what its user read: bounded, and gone soon after, whether or not anything else is ever read. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OpenedFile } from '../../client/library.ts'
import type { LoopPool } from '../../client/loops/pool.ts'
import { OPEN_FILE_IDLE_MS, OPEN_FILES_MAX, OpenFiles } from '../../client/open-files.ts'
import { ShareSessions } from '../../client/shares.ts'
import type { NodeId } from '../../src/bytes/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

const file = { address: 'a' } as OpenedFile

test('opened publications are bounded, and forgotten a minute after their last use without anybody asking', async () => {
  const clock = new FakeClock()
  const files = new OpenFiles(clock)
  for (let at = 0; at < 2 * OPEN_FILES_MAX; at++) await files.get(`address ${at}`, async () => file)
  assert.equal(files.size, OPEN_FILES_MAX)
  await clock.advance(OPEN_FILE_IDLE_MS - 1)
  await files.get(`address ${OPEN_FILES_MAX}`, () => assert.fail('it is remembered'))
  await clock.advance(1)
  assert.equal(files.size, 1)
  await clock.advance(2 * OPEN_FILE_IDLE_MS)
  assert.equal(files.size, 0)
  files.close()
  await files.get('late', async () => file)
  assert.equal(files.size, 0)
})

test('a session of reads that closed itself leaves no address behind', async () => {
  const clock = new FakeClock()
  const view: DirectoryView = { size: 0, version: 1, get: () => undefined, all: () => [], linked: () => [] }
  const pool = {} as LoopPool // not asked for anything
  const local = async () => ({ status: 'ok', body: new Uint8Array(0) }) as const
  const sessions = new ShareSessions({ self: '00' as NodeId, view, pool, local, localRecords: local, clock })
  for (let at = 0; at < 100; at++) sessions.named(`address ${at}`)
  assert.ok(sessions.size <= 32)
  await clock.advance(60_000)
  assert.equal(sessions.size, 0)
  assert.equal(sessions.named('again').closed, false)
  sessions.close()
  assert.equal(sessions.size, 0)
})
