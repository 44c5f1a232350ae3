/**
 * What a node publishes, on a disk that fails at each call in turn: services, versions of sites, records of keys, what is kept. After whatever
 * failed, a service that was added is up again and one that was removed is not, a site goes on above every version that was told, and no record
 * is ever older than one that holders have.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openKeepBook } from '../../client/keeps/index.ts'
import { type KeyBook, openKeyBook } from '../../client/keys/index.ts'
import type { PublishOptions } from '../../client/library.ts'
import { HolderRecordPublisher } from '../../client/records/index.ts'
import { LiveServices } from '../../client/service/index.ts'
import { SitePublisher } from '../../client/sites/index.ts'
import { nodeIdOf, toHex } from '../../src/bytes/index.ts'
import { formatFileAddress } from '../../src/content/address.ts'
import { sha256 } from '../../src/crypto/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { addressOf } from '../support/backup-files.ts'
import { atEveryCall } from '../support/every-call.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { FakeRecordNetwork } from '../support/fake-record-network.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { filesOf } from '../support/site-world.ts'

const never = new AbortController().signal
const network = new Uint8Array(32).fill(1)

/** Services of a node that knows nobody: they are hosted, and no point is ever chosen. */
async function servicesIn(dir: string, seed: number): Promise<LiveServices> {
  const clock = new FakeClock()
  const rng = seededRng(seed)
  const waiting = () => new Promise<never>(() => {})
  const services = new LiveServices({
    book: await openKeyBook(dir, rng),
    records: {
      prepare: async () => {},
      set: async () => {},
      forget: async () => {},
      parts: () => ({ site: null, service: null }),
      isPublished: () => true,
    },
    network,
    self: nodeIdOf(new Uint8Array(32).fill(2)),
    view: { all: () => [], get: () => undefined, linked: () => [], size: 0, version: 0 } as never,
    loopsFor: () => ({ loops: { take: waiting, release: () => {} } as never, close: () => {} }),
    healthy: () => true,
    joinLocally: () => assert.fail(),
    makeSession: () => assert.fail(),
    emit: () => {},
    clock,
    rng,
    log: silentLog,
  })
  await services.start()
  return services
}

test('services: added ones are up again after a restart, removed ones are not', async (t) => {
  const target = { host: '127.0.0.1', port: 8080 }
  await atEveryCall<string>(t, {
    survivesPowerCut: true,
    async prepare(dir) {
      const services = await servicesIn(dir, 1)
      await services.add({ name: 'old', target })
      await services.add({ name: 'stays', target })
      await services.close()
    },
    async run(dir, told) {
      let opened: LiveServices | null = null
      await told.step('opened', async () => {
        opened = await servicesIn(dir, 2)
      })
      if (opened === null) return
      const services: LiveServices = opened
      await told.step('new', () => services.add({ name: 'new', target }))
      await told.step('port', () => services.add({ name: 'stays', target, port: 81 }))
      // If the disk does not let it go it is still there, and goes when the disk does.
      for (const tries of [1, 2]) {
        let removed = false
        await told.step(`tried ${tries}`, async () => {
          removed = await services.remove('old')
        })
        if (removed) told.note('removed')
      }
      await services.close()
    },
    async check(dir, told, kept) {
      const services = await servicesIn(dir, 3)
      const names = services.list().map(({ name }) => name)
      const ports = services.get('stays')?.ports.map(({ port }) => port) ?? []
      assert.ok(ports.includes(80))
      if (kept) {
        if (told.includes('new')) assert.ok(names.includes('new'))
        if (told.includes('port')) assert.ok(ports.includes(81))
        assert.ok(told.includes('removed') ? !names.includes('old') : true)
      }
      await services.add({ name: 'after', target })
      await services.close()
    },
  })
})

interface Publishing {
  readonly book: KeyBook
  readonly records: HolderRecordPublisher
  readonly sites: SitePublisher
  close(): Promise<void>
}

/** A publisher of sites whose contents go nowhere and whose records go to `holders`. */
async function publishingIn(dir: string, holders: FakeRecordNetwork, clock: FakeClock, seed: number): Promise<Publishing> {
  const rng = seededRng(seed)
  const book = await openKeyBook(dir, rng)
  const records = await HolderRecordPublisher.open({
    book,
    session: () => holders.session(),
    networkId: network,
    clock,
    rng,
    log: silentLog,
  })
  const publish = async (body: AsyncIterable<Uint8Array>, _: PublishOptions) => {
    let bytes = 0
    let hash = new Uint8Array(32)
    for await (const chunk of body) {
      bytes += chunk.length
      hash = sha256(hash, chunk) as Uint8Array<ArrayBuffer>
    }
    return {
      address: formatFileAddress(hash),
      bytes,
      receipt: { survives: 1, of: 4, checked: 1, parts: 1, missing: 0, at: 0 },
    } as never
  }
  const finder = { find: () => Promise.reject(new Error('nobody is asked')) } as never
  const sites = new SitePublisher({ publish, keys: book, records, finder, clock, rng, log: silentLog })
  await sites.start()
  return { book, records, sites, close: () => records.close() }
}

test('sites and records: the next version and the next record are above all that were told', async (t) => {
  const clock = new FakeClock()
  let holders = new FakeRecordNetwork(4, clock)
  const version = (number: number) => ({ key: 'home', files: filesOf({ 'index.html': `version ${number}`, 'same.txt': 'same' }) })
  const publish = ({ sites }: Publishing, number: number) => sites.publish(version(number).files, { key: 'home', signal: never })
  /** The highest sequence that a holder ever took, by blinded key. */
  const highest = () => {
    const found = new Map<string, number>()
    for (const { history } of holders.nodes)
      for (const { publicKey, sequence } of history) {
        const name = toHex(publicKey)
        found.set(name, Math.max(sequence, found.get(name) ?? 0))
      }
    return found
  }
  const before = new FakeRecordNetwork(4, clock)
  await atEveryCall<number>(t, {
    survivesPowerCut: true,
    async prepare(dir) {
      const publishing = await publishingIn(dir, before, clock, 1)
      await publish(publishing, 1)
      await publishing.close()
    },
    async run(dir, told) {
      holders = new FakeRecordNetwork(4, clock)
      for (const [at, node] of before.nodes.entries())
        for (const [name, record] of node.records) holders.nodes[at]!.records.set(name, record)
      let opened: Publishing | null = null
      await told.step(0, async () => {
        opened = await publishingIn(dir, holders, clock, 2)
      })
      if (opened === null) return
      const publishing: Publishing = opened
      for (const number of [2, 3]) {
        let made = 0
        const done = await told.step(0, async () => {
          made = (await publish(publishing, number)).version
        })
        if (done) told.note(made)
      }
      await publishing.close()
    },
    async check(dir, told, kept) {
      const publishing = await publishingIn(dir, holders, clock, 3)
      const told1 = Math.max(1, ...told)
      const listed = publishing.sites.list().find(({ key }) => key === 'home')
      if (kept) assert.ok((listed?.version ?? 0) >= told1, `version ${listed?.version} after ${told1} was told`)
      const were = highest()
      const { version: next } = await publish(publishing, 9)
      if (kept) assert.ok(next > told1)
      // Holders took the new record: it is above every one that they have had of this key, whatever the disk forgot.
      const are = highest()
      for (const [name, sequence] of were) assert.ok(are.get(name)! > sequence, 'a record that is not newer')
      await publishing.close()
    },
  })
})

test('what is kept', async (t) => {
  const log = { warn: (text: string) => assert.fail(text) }
  const keep = { source: 'user', addedMs: 1, checkedMs: 0, passes: 0, snapshot: '' } as const
  await atEveryCall<readonly [string, boolean]>(t, {
    survivesPowerCut: true,
    async prepare(dir) {
      await (await openKeepBook({ dataDir: dir, log })).add({ ...keep, address: addressOf(1) })
    },
    async run(dir, told) {
      let opened: Awaited<ReturnType<typeof openKeepBook>> | null = null
      await told.step(['', true], async () => {
        opened = await openKeepBook({ dataDir: dir, log })
      })
      if (opened === null) return
      const book: Awaited<ReturnType<typeof openKeepBook>> = opened
      for (const fill of [2, 3]) await told.step([addressOf(fill), true], () => book.add({ ...keep, address: addressOf(fill) }))
      await told.step([addressOf(1), false], () => book.remove(addressOf(1)))
      await told.step(['', true], () => book.note(addressOf(2), { passes: 7 }))
    },
    async check(dir, told, kept) {
      const book = await openKeepBook({ dataDir: dir, log })
      if (kept) for (const [address, there] of told) if (address !== '') assert.equal(book.get(address) !== null, there)
    },
  })
})
