/**
 * The node's own files on a disk that fails at each call in turn: identity, tokens, keys and their parts, names, what was seen, the time of the own
 * descriptor, neighbours and directory. Whatever fails: an error that says what to do, and afterwards nothing acknowledged is lost, nothing
 * damaged is taken, and everything opens. `test/support/every-call.ts` says what can go wrong.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ApiTokens } from '../../client/api/tokens.ts'
import { holdDataDir, identityOf, openApiToken, openIdentity } from '../../client/identity.ts'
import { type KeyBook, openKeyBook } from '../../client/keys/index.ts'
import { openNameBook } from '../../client/names/index.ts'
import { NeighbourBook } from '../../client/neighbours/book.ts'
import { NeighbourFiles } from '../../client/neighbours/files.ts'
import { Publisher } from '../../client/neighbours/publisher.ts'
import { SeenRecords } from '../../client/records/index.ts'
import { type NodeId, toHex } from '../../src/bytes/index.ts'
import { Directory } from '../../src/directory/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { addressOf } from '../support/backup-files.ts'
import { TEST_RULES, testDescriptor, testNode } from '../support/directory.ts'
import { atEveryCall } from '../support/every-call.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

const never = new AbortController().signal
const sound = { warn: (text: string) => assert.fail(text) }
const quiet = { warn: () => {} }

test('identity and API token: made once, never another one after they were told', async (t) => {
  await atEveryCall<string>(t, {
    survivesPowerCut: true,
    async run(dir, told) {
      let id = ''
      await told.step('id', async () => {
        id = (await openIdentity(dir, seededRng(1))).id
      })
      if (id !== '') told.note(id)
      let token = ''
      await told.step('token', async () => {
        token = await openApiToken(dir, seededRng(2))
      })
      if (token !== '') told.note(token)
    },
    async check(dir, told, kept) {
      const { id } = await openIdentity(dir, seededRng(3))
      const token = await openApiToken(dir, seededRng(4))
      if (kept) for (const one of told.filter((text) => text.length > 5)) assert.ok(one === id || one === token)
      assert.equal((await openIdentity(dir, seededRng(5))).id, id)
    },
  })
})

test('the lock: held by one, or an error; whoever comes after a death gets it', async (t) => {
  const clock = { sleep: async () => {} }
  await atEveryCall<string>(t, {
    survivesPowerCut: true,
    async run(dir, told) {
      await told.step('held', async () => {
        const held = await holdDataDir(dir, { clock, rng: seededRng(1), signal: never })
        await held.release()
      })
    },
    async check(dir) {
      // This process lives, so a lock that it left in its death counts as held: as one of a process that is gone it is taken over.
      const { rmSync } = await import('node:fs')
      rmSync(`${dir}/lock`, { force: true })
      await (await holdDataDir(dir, { clock, rng: seededRng(2), signal: never })).release()
    },
  })
})

/** All keys and parts as one text each. */
async function contentOf(book: KeyBook): Promise<Map<string, string>> {
  const content = new Map<string, string>()
  for (const { name, address } of book.list()) {
    content.set(name, address)
    for (const part of ['record', 'site', 'service'] as const) {
      const bytes = await book.readPart(name, part)
      if (bytes !== null) content.set(`${name}.${part}`, toHex(bytes.subarray(0, 4)))
      if (bytes !== null)
        assert.ok(
          bytes.every((byte) => byte === bytes[0]),
          'a part is torn',
        )
    }
  }
  return content
}

test('key book: keys and parts', async (t) => {
  const part = (fill: number, length: number) => new Uint8Array(length).fill(fill)
  await atEveryCall<readonly [string, string | null]>(t, {
    survivesPowerCut: true,
    async prepare(dir) {
      const book = await openKeyBook(dir, seededRng(1))
      await book.make('old')
      await book.writePart('old', 'site', part(1, 30_000))
      await book.writePart('old', 'record', part(1, 10))
    },
    async run(dir, told) {
      let book: KeyBook | null = null
      await told.step(['opened', null], async () => {
        book = await openKeyBook(dir, seededRng(2))
      })
      if (book === null) return
      const keys: KeyBook = book
      for (const name of ['new', 'other']) {
        let address = ''
        if (
          await told.step(['tried', null], async () => {
            address = (await keys.make(name)).address
          })
        )
          told.note([name, address])
        else assert.equal(keys.get(name), null)
      }
      for (const fill of [2, 3]) {
        await told.step(['old.site', toHex(part(fill, 4))], () => keys.writePart('old', 'site', part(fill, 30_000 + fill)))
      }
      if (keys.get('new') !== null)
        await told.step(['new.service', toHex(part(7, 4))], () => keys.writePart('new', 'service', part(7, 9)))
      await told.step(['old.record', null], () => keys.removePart('old', 'record'))
    },
    async check(dir, told, kept) {
      const book = await openKeyBook(dir, seededRng(3))
      assert.deepEqual(book.damaged(), [])
      const content = await contentOf(book)
      if (!kept) return
      const expected = new Map(told.filter(([name]) => name !== 'tried' && name !== 'opened'))
      for (const [name, value] of expected) {
        if (name === 'old.site') {
          // The one acknowledged last, or a later one that was being written.
          assert.ok(content.get(name)! >= value!, `${name}: ${content.get(name)}`)
        } else assert.equal(content.get(name) ?? null, value, name)
      }
      assert.ok(content.has('old'))
      assert.ok(['01010101', '02020202', '03030303'].includes(content.get('old.site') ?? ''))
    },
  })
})

test('book of names', async (t) => {
  const clock = new FakeClock()
  await atEveryCall<readonly [string, string | null]>(t, {
    survivesPowerCut: true,
    async prepare(dir) {
      const book = await openNameBook({ dataDir: dir, clock, log: sound })
      await book.put('old', addressOf(1))
    },
    async run(dir, told) {
      let opened: Awaited<ReturnType<typeof openNameBook>> | null = null
      await told.step(['opened', null], async () => {
        opened = await openNameBook({ dataDir: dir, clock, log: sound })
      })
      if (opened === null) return
      const book: Awaited<ReturnType<typeof openNameBook>> = opened
      for (const [name, fill] of [
        ['a', 2],
        ['b', 3],
        ['a', 4],
      ] as const) {
        const before = book.find(name)
        const done = await told.step([name, addressOf(fill)], () => book.put(name, addressOf(fill)))
        assert.equal(book.find(name), done || told.values.length === -1 ? addressOf(fill) : before)
      }
      await told.step(['old', null], () => book.remove('old'))
    },
    async check(dir, told, kept) {
      const book = await openNameBook({ dataDir: dir, clock, log: sound })
      if (!kept) return
      const expected = new Map<string, string | null>([['old', addressOf(1)], ...told])
      expected.delete('opened')
      // What was not acknowledged may be there all the same: the disk failed, or the process died, after it was written.
      const later: Record<string, readonly string[]> = { a: [addressOf(2), addressOf(4)], b: [addressOf(3)] }
      for (const [name, address] of expected) {
        const found = book.find(name)
        if (name === 'old') assert.ok(address === null ? found === null : found === null || found === address)
        else assert.ok(found === address || later[name]!.indexOf(found ?? '') > later[name]!.indexOf(address ?? ''), name)
      }
    },
  })
})

test('tokens of single programs: what was made works, what was taken back does not', async (t) => {
  const parts = (dir: string, seed: number) => ({ own: 'own', dataDir: dir, clock: new FakeClock(), rng: seededRng(seed) })
  let old = ''
  await atEveryCall<readonly [string, boolean]>(t, {
    survivesPowerCut: true,
    async prepare(dir) {
      old = await (await ApiTokens.open(parts(dir, 1))).add('old', 'read')
    },
    async run(dir, told) {
      let opened: ApiTokens | null = null
      await told.step(['', true], async () => {
        opened = await ApiTokens.open(parts(dir, 2))
      })
      if (opened === null) return
      const tokens: ApiTokens = opened
      for (const name of ['a', 'b']) {
        let token = ''
        if (
          await told.step(['', true], async () => {
            token = await tokens.add(name, 'publish')
          })
        )
          told.note([token, true])
      }
      if (await told.step(['', true], () => tokens.remove('old'))) told.note([old, false])
      assert.equal(tokens.callerOf(`Bearer ${old}`), null, 'a token that was taken back works')
    },
    async check(dir, told, kept) {
      const tokens = await ApiTokens.open(parts(dir, 3))
      if (!kept) return
      for (const [token, works] of told) {
        if (token !== '') assert.equal(tokens.callerOf(`Bearer ${token}`) !== null, works)
      }
    },
  })
})

test('records seen before: what was on disk once is not forgotten because it could not be read once', async (t) => {
  const key = (fill: number) => new Uint8Array(32).fill(fill)
  const options = (dir: string) => ({ dataDir: dir, secret: key(9), clock: new FakeClock(), log: quiet })
  await atEveryCall<readonly [number, number]>(t, {
    survivesPowerCut: false,
    async prepare(dir) {
      const seen = await SeenRecords.open(options(dir))
      seen.note(key(1), '', 5)
      await seen.close()
    },
    async run(dir, told) {
      const seen = await SeenRecords.open(options(dir))
      seen.note(key(2), '', 7)
      await seen.close()
      told.note([2, 7])
    },
    async check(dir) {
      const warned: string[] = []
      const seen = await SeenRecords.open({ ...options(dir), log: { warn: (text) => void warned.push(text) } })
      assert.deepEqual(warned, [])
      assert.equal(seen.highest(key(1), ''), 5)
      assert.ok([0, 7].includes(seen.highest(key(2), '')))
    },
  })
})

test('the time of the own descriptor never runs backwards, and a disk that fails keeps nobody from publishing', async (t) => {
  const identity = identityOf(new Uint8Array(32).fill(3))
  const publisherIn = (dir: string, clock: FakeClock, faults: unknown[] = []) => {
    const directory = new Directory({ rules: TEST_RULES, clock, self: identity.id })
    const publisher = new Publisher({
      directory,
      identity,
      dataDir: dir,
      clock,
      rng: seededRng(1),
      claims: {
        onion: () => ({ kid: 1, x25519: new Uint8Array(32).fill(1), mlkem768: new Uint8Array(1184).fill(2) }),
        capacityClass: 0,
        storeQuotaBytes: 0,
      },
      addresses: () => [],
      neighbours: () => [],
      onPublished: () => {},
      onFault: (error) => faults.push(error),
    })
    return { publisher, published: () => directory.get(identity.id)?.publishedMs ?? 0 }
  }
  await atEveryCall<number>(t, {
    survivesPowerCut: true,
    async run(dir, told) {
      const clock = new FakeClock()
      const faults: unknown[] = []
      const { publisher, published } = publisherIn(dir, clock, faults)
      await publisher.start(never)
      assert.ok(published() > 0, 'nothing was published')
      if (faults.length === 0) told.note(published())
      for (const error of faults) told.judge(error)
      await publisher.close()
    },
    async check(dir, told, kept) {
      // Started again under a clock that was set back.
      const { publisher, published } = publisherIn(dir, new FakeClock(FakeClock.START_UNIX_MS - 10_000))
      await publisher.start(never)
      await publisher.close()
      assert.ok(published() > 0)
      if (kept) for (const before of told) assert.ok(published() > before, `${published()} after ${before}`)
    },
  })
})

test('neighbours and directory: read back whole, in part, or begun anew', async (t) => {
  const clock = new FakeClock()
  const self = testNode(1).id
  const others = [2, 3, 4].map((seed) => testNode(seed))
  const filesIn = (dir: string, warn: (text: string) => void) => {
    const directory = new Directory({ rules: TEST_RULES, clock, self })
    const book = new NeighbourBook(3, seededRng(1), clock.monotonicMs())
    return { directory, book, files: new NeighbourFiles({ dataDir: dir, directory, book, clock, log: { ...silentLog, warn } }) }
  }
  await atEveryCall<NodeId>(t, {
    survivesPowerCut: false,
    async prepare(dir) {
      const { directory, book, files } = filesIn(dir, (text) => assert.fail(text))
      directory.add(testDescriptor(others[0]!))
      book.add(others[0]!.id, 4, clock.unixMs(), clock.monotonicMs())
      files.save('all')
      await files.written()
    },
    async run(dir, told) {
      const { directory, book, files } = filesIn(dir, () => {})
      await files.load()
      for (const other of others.slice(1)) {
        directory.add(testDescriptor(other))
        book.add(other.id, 4, clock.unixMs(), clock.monotonicMs())
      }
      files.save('all')
      await files.written()
      told.note(self)
    },
    async check(dir) {
      const { directory, book, files } = filesIn(dir, (text) => assert.fail(text))
      await files.load()
      assert.ok(directory.size >= 1 && directory.size <= 3)
      assert.ok(book.ids.length >= 1 && book.ids.length <= 3)
      assert.ok(book.has(others[0]!.id))
    },
  })
})
