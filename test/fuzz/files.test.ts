/**
 * Every reader of what lies on disk or comes from a user's hand: books, keys, tokens, states, what was known of the network, bootstrap lists, imports,
 * paths and headers. A file may be damaged, old, cut or made by an enemy: the outcome is what it says, within bounds, or a plain refusal.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { readToken } from '../../client/api/token.ts'
import { ApiTokens } from '../../client/api/tokens.ts'
import { finishRestore } from '../../client/backup/staged.ts'
import { acceptsGzip, decodedForm } from '../../client/http/coding.ts'
import { parseRange } from '../../client/http/range.ts'
import { decodePath } from '../../client/http/serve-site.ts'
import { identityOf, isIdentityFile, openIdentity } from '../../client/identity.ts'
import { keepsText, parseKeeps } from '../../client/keeps/book.ts'
import { isKeyFile, isKeyPartFile, openKeyBook } from '../../client/keys/folder.ts'
import { bookText, parseBook } from '../../client/names/book.ts'
import { parseNames } from '../../client/names/import.ts'
import { isPetname } from '../../client/names/rules.ts'
import { NeighbourBook } from '../../client/neighbours/book.ts'
import { Publisher } from '../../client/neighbours/publisher.ts'
import { SeenRecords } from '../../client/records/seen.ts'
import { encodeSavedRecord, parseSavedRecord } from '../../client/records/upkeep.ts'
import { encodeServiceState, parseServiceState } from '../../client/service/state.ts'
import { decodeEntry, ENTRY_BYTES, encodeEntry } from '../../relay/store/place-entry.ts'
import { fromHex, type MonotonicMs, type NodeId, parseNodeId, toHex, type UnixMs } from '../../src/bytes/index.ts'
import { loadConfig, resolveBootstrap } from '../../src/config/index.ts'
import {
  parseApiAt,
  parseBitRate,
  parseBootstrap,
  parseBytes,
  parseDialAddress,
  parseHostPort,
  parseListenAddress,
  parseNetworkName,
  parsePath,
  Refused,
} from '../../src/config/values.ts'
import { formatFileAddress, parseAddress } from '../../src/content/address.ts'
import { Directory, loadDirectory, saveDirectory, verifyDescriptor } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { TEST_RULES, testClaims, testDescriptor, testNode } from '../support/directory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { fuzzTarget, type Target } from '../support/guided.ts'
import { mutateBytes, mutateJson } from '../support/mutate.ts'
import { seededRng } from '../support/seeded-rng.ts'

const rng = seededRng('file seeds')
const folder = mkdtempSync(join(tmpdir(), 'gyre-fuzz-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const utf8 = (text: string) => new Uint8Array(Buffer.from(text))
const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8')
const words = (...list: string[]) => list.map(utf8)
const addresses = [1, 2, 3].map((fill) => formatFileAddress(new Uint8Array(32).fill(fill)))
const node = testNode(1)
const NOW = FakeClock.START_UNIX_MS as UnixMs
const clock = new FakeClock()
const silent = { warn: () => {} }

/** `run` gives something or fails with one of `codes`. */
async function refused(run: () => unknown, ...codes: string[]): Promise<unknown> {
  try {
    return await run()
  } catch (error) {
    assert.ok(isOverlayError(error) && codes.includes(error.code), error instanceof Error ? error.stack : String(error))
    return null
  }
}

/** A file of its own for a target that reads one. */
function fileOf(name: string): { readonly dir: string; readonly write: (file: string, bytes: Uint8Array) => void } {
  const dir = join(folder, name)
  mkdirSync(dir)
  return { dir, write: (file, bytes) => writeFileSync(join(dir, file), bytes, { mode: 0o600 }) }
}

const keeps = addresses.map((address, at) => ({
  ...{ address, source: at % 2 === 0 ? ('user' as const) : ('own' as const), addedMs: NOW },
  ...{ checkedMs: 0, passes: at, snapshot: at === 1 ? addresses[0]! : '' },
}))
const names = addresses.map((address, at) => ({ name: `name-${at}`, address, source: 'user', addedMs: NOW }))
const state = {
  ports: [{ port: 80, host: '127.0.0.1', targetPort: 8000 }],
  secret: rng.bytes(32),
  points: [{ node: node.id, token: rng.bytes(32), untilMs: NOW }],
  carriage: { loops: 3, rate: 512 },
}
const saved = {
  record: { sequence: 9, site: { snapshot: rng.bytes(32), version: 1, bytes: 5, files: 6 }, service: null },
  ...{ lastPeriod: 2_900, settled: true },
}

const tokens = fileOf('tokens')
await (await ApiTokens.open({ own: 'x', dataDir: tokens.dir, clock, rng })).add('script', 'read')
const tokenFile = utf8(
  JSON.stringify({ version: 1, tokens: [{ name: 'script', scope: 'read', addedMs: NOW, hash: toHex(rng.bytes(32)) }] }),
)
const identity = fileOf('identity')
const identityFile = await (async () => {
  await openIdentity(identity.dir, rng)
  return (await import('node:fs')).readFileSync(join(identity.dir, 'identity'))
})()
const keyring = fileOf('keyring')
const keyFiles = await (async () => {
  const book = await openKeyBook(keyring.dir, rng)
  await book.make('home')
  await book.writePart('home', 'site', rng.bytes(60))
  const { readFileSync } = await import('node:fs')
  return ['home', 'home.site'].map((file) => new Uint8Array(readFileSync(join(keyring.dir, 'keys', file))))
})()
const seen = fileOf('seen')
const seenFile = await (async () => {
  const records = await SeenRecords.open({ dataDir: seen.dir, secret: rng.bytes(32), clock, log: silent })
  for (let at = 0; at < 3; at++) records.note(rng.bytes(32), 'a', 5 + at)
  await records.close()
  return new Uint8Array((await import('node:fs')).readFileSync(join(seen.dir, 'seen')))
})()
const published = fileOf('published')
const self = testNode(9)
const known = fileOf('known')
const directoryFile = await (async () => {
  const directory = new Directory({ rules: TEST_RULES, clock, self: node.id })
  for (const seed of [2, 3]) directory.add(testDescriptor(testNode(seed)))
  await saveDirectory(directory, join(known.dir, 'directory'))
  return new Uint8Array((await import('node:fs')).readFileSync(join(known.dir, 'directory')))
})()
const restore = fileOf('restored')
const listed = fileOf('listed')
const neighbours = new NeighbourBook(8, rng, 0 as MonotonicMs)
for (const seed of [1, 2]) neighbours.add(testNode(seed).id, 30, NOW, 0 as MonotonicMs)
/** One that never waits for files that do not come. */
const impatient = { monotonicMs: () => 0, sleep: () => Promise.reject(new Error('it waits')) }
const dialable = `/ip4/127.0.0.1/tcp/9740/p2p/12D3KooWGjMCwzMqcWqTrBWoZKbY7yQbYiHgeRkQbDbcxT2yNdVd`
const listing = loadConfig({ flags: { bootstrap: [`file:${join(listed.dir, 'list')}`] }, env: {}, home: folder, cwd: folder })
const plain = Buffer.from('plain text '.repeat(40))

const targets: readonly Target[] = [
  {
    name: 'what is kept',
    seeds: [utf8(keepsText(keeps)), utf8(keepsText([]))],
    mutate: mutateJson([...addresses, 'user', 'own']),
    run: (bytes) => {
      const found = parseKeeps(textOf(bytes))
      if (found === null) return
      assert.ok(found.every(({ address }) => parseAddress(address) !== null))
      assert.deepEqual(parseKeeps(keepsText(found)), found)
    },
  },
  {
    name: 'book of names',
    seeds: [utf8(bookText(names)), utf8(bookText([]))],
    mutate: mutateJson([...addresses, 'user', 'a-b', 'gyre']),
    run: (bytes) => {
      const found = parseBook(textOf(bytes))
      if (found === null) return
      assert.ok(found.every(({ name, address }) => isPetname(name) && parseAddress(address) !== null))
      assert.deepEqual(parseBook(bookText(found)), found)
    },
  },
  {
    name: 'names that are imported, JSON',
    seeds: [JSON.stringify({ names }), JSON.stringify(names), JSON.stringify({ a: addresses[0], b: addresses[1] })].map(utf8),
    mutate: mutateJson([...addresses, 'name', 'address', 'names', `http://${addresses[0]}.gyre/`]),
    run: async (bytes) => {
      const found = (await refused(() => parseNames(textOf(bytes)), 'CONFIG_BAD')) as ReturnType<typeof parseNames> | null
      for (const { name, address } of found ?? []) assert.ok(isPetname(name) && parseAddress(address) !== null)
    },
  },
  {
    name: 'names that are imported, lines',
    seeds: [utf8(`# names\nfriend ${addresses[0]}\nother = http://${addresses[1]}.gyre/ # mine\n`)],
    mutate: mutateBytes(words(' ', '\n', '\r\n', '#', '=', ',', '\t', addresses[2]!, 'x', '{', '[', '\u00a0')),
    run: async (bytes) => {
      const found = (await refused(() => parseNames(textOf(bytes)), 'CONFIG_BAD')) as ReturnType<typeof parseNames> | null
      for (const { name, address } of found ?? []) assert.ok(isPetname(name) && parseAddress(address) !== null)
    },
  },
  {
    name: 'state of a service',
    seeds: [encodeServiceState(state), encodeServiceState({ ...state, ports: [], points: [] })],
    mutate: mutateJson(['127.0.0.1', '::1', 'localhost', '0x7f.1', node.id]),
    run: (bytes) => {
      const found = parseServiceState(bytes)
      if (found === null) return
      assert.ok(found.ports.length <= 16 && found.points.length <= 8 && found.secret.length === 32)
      assert.deepEqual(parseServiceState(encodeServiceState(found)), found)
    },
  },
  {
    name: 'record that is kept up',
    seeds: [encodeSavedRecord(saved), encodeSavedRecord({ ...saved, settled: false, lastPeriod: 0 })],
    mutate: mutateBytes(),
    run: (bytes) => {
      const found = parseSavedRecord(bytes)
      if (found === null) return
      assert.ok(Number.isSafeInteger(found.lastPeriod) && found.lastPeriod >= 0)
      assert.deepEqual(parseSavedRecord(encodeSavedRecord(found)), found)
    },
  },
  {
    name: 'neighbours that were chosen',
    seeds: [utf8(neighbours.toText())],
    mutate: mutateBytes(words('\n', ' ', '-1', '1e9', 'NaN', '9007199254740993', '0x10', node.id, 'gyre neighbours 1\n')),
    run: (bytes) => {
      const book = new NeighbourBook(8, rng, 0 as MonotonicMs)
      book.load(textOf(bytes), NOW)
      assert.ok(book.ids.length <= 12 && book.ids.every((id) => parseNodeId(id) === id))
      const again = new NeighbourBook(8, rng, 0 as MonotonicMs)
      again.load(book.toText(), NOW)
      assert.equal(again.toText(), book.toText())
      book.review(30, () => true, NOW)
    },
  },
  {
    name: 'records that were seen',
    seeds: [seenFile],
    mutate: mutateBytes(),
    run: async (bytes) => {
      seen.write('seen', bytes)
      const records = await SeenRecords.open({ dataDir: seen.dir, secret: new Uint8Array(32), clock, log: silent })
      assert.ok(records.size <= 4096)
      // What is not as it was written is none of ours.
      if (Buffer.compare(bytes, seenFile) !== 0) assert.equal(records.size, 0)
    },
  },
  {
    name: 'nodes that were known',
    seeds: [directoryFile],
    mutate: mutateBytes(words('\n', '=', 'gyre directory 1\n', Buffer.from(testDescriptor(testNode(4))).toString('base64'))),
    run: async (bytes) => {
      known.write('directory', bytes)
      const directory = new Directory({ rules: TEST_RULES, clock, self: node.id })
      const { added } = await loadDirectory(directory, join(known.dir, 'directory'), { nextTurn: (fire) => setImmediate(fire) })
      assert.ok(added <= 3 && directory.size <= 4)
    },
  },
  {
    name: 'what was published of the node itself',
    // Each is written to disk, and waits for it.
    batch: 16,
    seeds: [utf8(`gyre published 1\n${NOW - 5_000}\n20000\n${toHex(self.work)}\n`)],
    mutate: mutateBytes(words('\n', '0', '9', '-', '999999999999999', '00', 'f', 'gyre published 1\n')),
    run: async (bytes) => {
      published.write('published', bytes)
      const directory = new Directory({ rules: TEST_RULES, clock, self: self.id })
      const publisher = new Publisher({
        ...{ directory, dataDir: published.dir, clock, rng, addresses: () => [], neighbours: () => [], onPublished: () => {} },
        identity: { id: self.id, key: self.key, seed: new Uint8Array(32) },
        claims: { onion: () => testClaims(self).onion, capacityClass: 0, storeQuotaBytes: 0 },
        onFault: (error) => assert.fail(String(error)),
      })
      await publisher.start(new AbortController().signal)
      // Whatever stood there, what is told to others is right.
      assert.equal(typeof verifyDescriptor(publisher.signed, TEST_RULES, NOW), 'object')
      await publisher.close()
    },
  },
  {
    name: 'entry of the store',
    seeds: [encodeEntry(7, { key: rng.bytes(32), variant: 1, keepUntilMs: NOW, length: 65_536 }), new Uint8Array(ENTRY_BYTES)],
    mutate: mutateBytes(),
    run: (input) => {
      const bytes = new Uint8Array(ENTRY_BYTES)
      bytes.set(input.subarray(0, ENTRY_BYTES))
      const entry = decodeEntry(7, bytes)
      if (typeof entry !== 'object') return
      assert.deepEqual(decodeEntry(7, encodeEntry(7, entry)), entry)
      assert.equal(decodeEntry(8, bytes), 'damaged')
    },
  },
  {
    name: 'keys and identity',
    seeds: [...keyFiles, new Uint8Array(identityFile)],
    mutate: mutateBytes(words('\n', '0', 'f', 'gyre key 1\n', 'gyre identity 1\n')),
    run: (bytes) => {
      const text = textOf(bytes)
      const isOf = (first: string) => text.startsWith(`${first}\n`) && text.length === first.length + 1 + 65 + 17
      if (isKeyFile(bytes)) assert.ok(isOf('gyre key 1'))
      if (isIdentityFile(bytes)) assert.ok(isOf('gyre identity 1'))
      if (isKeyPartFile('home', 'site', bytes)) assert.equal(Buffer.compare(bytes, keyFiles[1]!), 0)
      assert.equal(isKeyPartFile('other', 'site', bytes), false)
    },
  },
  {
    name: 'identity of a node, from its file',
    seeds: [new Uint8Array(identityFile)],
    mutate: mutateBytes(words('\n', '0', 'f')),
    run: async (bytes) => {
      identity.write('identity', bytes)
      const found = (await refused(() => openIdentity(identity.dir, rng), 'IDENTITY_DAMAGED')) as { readonly id: NodeId } | null
      if (found !== null) assert.equal(found.id, identityOf(fromHex(textOf(bytes).split('\n')[1]!)!).id)
    },
  },
  {
    name: 'tokens of the API',
    seeds: [tokenFile],
    mutate: mutateJson(['read', 'publish', 'admin', 'script', toHex(rng.bytes(32))]),
    run: async (bytes) => {
      tokens.write('api-tokens.json', bytes)
      const open = () => ApiTokens.open({ own: 'own', dataDir: tokens.dir, clock, rng })
      const found = (await refused(open, 'API_TOKEN_BAD')) as ApiTokens | null
      assert.ok((found?.list().length ?? 0) <= 64)
      // No damage makes a token of a text that was none.
      if (found !== null) assert.equal(found.callerOf(`Bearer ${textOf(bytes).slice(0, 300)}`)?.name ?? '', '')
    },
  },
  {
    name: 'token of the node',
    seeds: [utf8(`${Buffer.from(rng.bytes(32)).toString('base64url')}\n`)],
    mutate: mutateBytes(words('\n', ' ', '-', '_', '=', '\0')),
    run: async (bytes) => {
      tokens.write('api.token', bytes)
      const token = await refused(() => readToken(tokens.dir), 'API_TOKEN_BAD')
      if (token !== null) assert.match(String(token), /^[A-Za-z0-9_-]{43}$/)
    },
  },
  {
    name: 'plan of a restore',
    seeds: [utf8(JSON.stringify({ put: ['identity', 'keys/home', 'names.json'], remove: ['keys/home.site'] }))],
    mutate: mutateJson(['identity', 'keys/home', 'names.json', '../x', '/etc/x', 'keys/../../x', 'keys/home.record', 'store']),
    run: async (bytes) => {
      mkdirSync(join(restore.dir, 'restore'), { recursive: true })
      writeFileSync(join(restore.dir, 'restore', '0'), 'new')
      restore.write('restore/plan', bytes)
      await refused(() => finishRestore(restore.dir), 'DATA_DIR_UNUSABLE')
      const { readdirSync } = await import('node:fs')
      for (const name of readdirSync(folder)) assert.ok(!name.startsWith('x'), 'outside of the folder')
      assert.ok(
        readdirSync(restore.dir).every((name) => ['restore', 'identity', 'keys', 'names.json', 'keeps.json'].includes(name)),
      )
    },
  },
  {
    name: 'list of nodes to begin with',
    seeds: [utf8(`# first\n${dialable}\n\n${dialable.replace('ip4/127.0.0.1', 'dns4/example.org')}\n`)],
    mutate: mutateBytes(words('\n', '\r', '#', ' ', dialable, '/ip6/::1', '/ws', 'file:', '\0')),
    run: async (bytes) => {
      listed.write('list', bytes)
      const waiting = { clock: impatient as never, signal: new AbortController().signal }
      try {
        const { bootstrap } = await resolveBootstrap(listing, waiting)
        assert.ok(bootstrap.length <= 64 && bootstrap.every((one) => /^\/.+\/p2p\/[A-Za-z0-9]+$/.test(one)))
      } catch (error) {
        assert.ok(isOverlayError(error, 'CONFIG_BAD') || (error instanceof Error && error.message === 'it waits'), String(error))
      }
    },
  },
  {
    name: 'values of the configuration',
    seeds: ['127.0.0.1:9770', '[::1]:1', 'unix:/x/y', '10GiB', 'mine', dialable, '/ip4/0.0.0.0/tcp/9740', 'file:x'].map(utf8),
    mutate: mutateBytes(words(':', '[', ']', 'localhost', 'unix:', '/ws', '.', 'GiB', '999999999999', '%', ' ', '\0')),
    run: (bytes) => {
      const text = textOf(bytes)
      const all = [
        parseApiAt,
        parseBootstrap,
        parseBitRate,
        parseBytes,
        parseDialAddress,
        parseHostPort,
        parseListenAddress,
        parseNetworkName,
        parsePath,
      ]
      for (const parse of all) {
        try {
          const found = parse(text)
          if (typeof found === 'object' && 'port' in found) assert.ok(found.port >= 0 && found.port <= 65_535)
          if (typeof found === 'number') assert.ok(Number.isSafeInteger(found) && found >= 0)
        } catch (error) {
          assert.ok(error instanceof Refused, String(error))
        }
      }
    },
  },
  {
    name: 'paths and headers of a request',
    seeds: ['/a/b%20c.html?x=1', '/%2e%2e/%2Fx', 'bytes=0-1', 'bytes=-5,2-', 'gzip;q=0.5, identity', '*;q=0'].map(utf8),
    mutate: mutateBytes(words('%', '%2f', '%00', '%ff', '..', '/', ';q=', ',', 'bytes=', '-', 'gzip', '\r\n', '%c3%28')),
    run: (bytes) => {
      const text = textOf(bytes)
      const path = decodePath(text)
      if (path !== null) assert.ok(path.startsWith('/') && path.isWellFormed())
      assert.equal(typeof acceptsGzip(text), 'boolean')
      const wanted = parseRange(text, 100)
      if (wanted.kind === 'part')
        assert.ok(wanted.range.start >= 0 && wanted.range.start < wanted.range.end && wanted.range.end <= 100)
      const id = parseNodeId(text)
      if (id !== null) assert.match(text, /^[0-9a-f]{64}$/)
      const hex = fromHex(text)
      if (hex !== null) assert.equal(toHex(hex), text.toLowerCase())
    },
  },
  {
    name: 'a compressed file of a site',
    seeds: [new Uint8Array(gzipSync(plain)), new Uint8Array(gzipSync(Buffer.alloc(3_000_000)))],
    mutate: mutateBytes(),
    run: async (bytes) => {
      const read = () => ({
        counters: { asked: 0, received: 0, bad: 0 },
        async *[Symbol.asyncIterator]() {
          yield bytes
        },
      })
      const entry = {
        bytes: bytes.length,
        plainBytes: plain.length,
        contentType: 'text/plain',
        etag: '"x"',
        path: 'a',
        encoding: 'gzip' as const,
        read,
      }
      const form = decodedForm(entry)
      let length = 0
      const { signal } = new AbortController()
      await refused(async () => {
        for await (const chunk of form.read({ start: 0, end: plain.length }, { signal })) length += chunk.length
      }, 'CONTENT_DAMAGED')
      // What unpacks to more than was said is broken off.
      assert.ok(length <= plain.length)
    },
  },
]

for (const target of targets) test(target.name, { timeout: 600_000 }, (t) => fuzzTarget(t, target))
