/** What addresses lead to, and which version of a site a reader sees while it is being updated. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JoinedWork } from '../../client/sites/joined.ts'
import type { MonotonicMs } from '../../src/bytes/index.ts'
import { toHex } from '../../src/bytes/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { never } from '../support/fake-share-network.ts'
import { contentAt, SiteWorld } from '../support/site-world.ts'

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const pageOf = async (world: SiteWorld, address: string, asking = {}) =>
  text(await contentAt(await world.open(address, asking), '/'))
const hasCode = (code: string) => (error: unknown) => error instanceof OverlayError && error.code === code

test('a file is a file, the address of an index is a site, a key is what its record says', async () => {
  const world = new SiteWorld()
  const made = await world.publish({ 'index.html': 'one' })
  const found = await world.resolver.resolve(made.address.toUpperCase(), { signal: never })
  assert.ok(found.kind === 'key' && found.live === null && found.site !== null)
  const snapshot = await world.resolver.resolve(made.snapshot, { signal: never })
  assert.ok(snapshot.kind === 'key' && snapshot.site !== null)
  assert.equal((await snapshot.site()).version, 1)
  await assert.rejects(world.resolver.resolve('nonsense', { signal: never }), hasCode('ADDRESS_BAD'))
  const other = await world.keys.make('other')
  await assert.rejects(world.resolver.resolve(other.address, { signal: never }), hasCode('RECORD_NOT_FOUND'))
  world.close()
})

test('what belongs to an open page is of its version; the next page is of the newest', async () => {
  const world = new SiteWorld()
  const { address } = await world.publish({ 'index.html': 'one' })
  assert.equal(await pageOf(world, address), 'one')
  await world.publish({ 'index.html': 'two' })
  assert.equal(await pageOf(world, address, { pinned: true }), 'one')
  assert.equal(await pageOf(world, address, { pinned: true, isolation: 'other' }), 'two', 'another isolation has no page open')
  assert.equal(await pageOf(world, address), 'two')
  assert.equal(await pageOf(world, address, { pinned: true }), 'two')
  world.close()
})

test('a record up to 15 s old will do for a page, unless this very node has published since, or the page is reloaded', async () => {
  let now = 0
  const world = new SiteWorld(1, { ...systemClock, monotonicMs: () => now as MonotonicMs })
  const { address } = await world.publish({ 'index.html': 'one' })
  const key = world.keys.get('home')!.publicKey
  await pageOf(world, address)
  assert.equal(world.records.lastMaxAgeMs, 15_000)
  world.resolver.changed(key)
  now = 4000
  await pageOf(world, address)
  assert.equal(world.records.lastMaxAgeMs, 4000)
  now = 20_000
  await pageOf(world, address)
  assert.equal(world.records.lastMaxAgeMs, 15_000)
  await pageOf(world, address, { fresh: true })
  assert.equal(world.records.lastMaxAgeMs, 1_000, 'a reload asks for the newest')
  world.close()
})

test('a record that names nothing is no last word: what came up since is found at once', async () => {
  const world = new SiteWorld()
  const { address } = await world.publish({ 'index.html': 'one' })
  const key = toHex(world.keys.get('home')!.publicKey)
  const withSite = world.records.records.get(key)!
  world.records.records.set(key, { ...withSite, site: null })
  const { finds } = world.records
  const nothing = await world.resolver.resolve(address, { signal: never })
  assert.ok(nothing.kind === 'key' && nothing.site === null)
  assert.equal(world.records.finds, finds + 2, 'looked up again, once')
  assert.equal(world.records.lastMaxAgeMs, 1_000)
  world.records.records.set(key, withSite)
  assert.equal(await pageOf(world, address), 'one')
  assert.equal(world.records.finds, finds + 3, 'one look when there is something')
  world.close()
})

test('what is pinned is not looked up again', async () => {
  const world = new SiteWorld()
  const { address } = await world.publish({ 'index.html': 'one' })
  await pageOf(world, address)
  const { finds } = world.records
  for (let time = 0; time < 5; time++) await pageOf(world, address, { pinned: true })
  assert.equal(world.records.finds, finds)
  world.close()
})

test('readers while a site is updated again and again see whole versions only', async () => {
  const world = new SiteWorld()
  const tree = (version: number) =>
    Object.fromEntries(['index.html', 'a.css', 'b.js'].map((path) => [path, `${version} ${path} `.repeat(400)]))
  const { address } = await world.publish(tree(1))
  let done = false
  const reader = async (isolation: string) => {
    const seen = new Set<string>()
    while (!done) {
      const page = text(await contentAt(await world.open(address, { isolation }), '/index.html'))
      const version = page.split(' ', 1)[0]!
      for (const path of ['a.css', 'b.js']) {
        await new Promise((resolve) => setImmediate(resolve))
        const part = text(await contentAt(await world.open(address, { isolation, pinned: true }), `/${path}`))
        assert.equal(part.split(' ', 1)[0], version, 'a part of the page is of its version')
      }
      seen.add(version)
    }
    return seen
  }
  const readers = Promise.all(['a', 'b', 'c'].map(reader))
  for (let version = 2; version <= 12; version++) await world.publish(tree(version))
  done = true
  for (const seen of await readers) assert.ok(seen.size > 2, [...seen].join())
  world.close()
})

test('a new version that cannot be opened leaves the old one, and so does a record that cannot be had', async () => {
  const world = new SiteWorld()
  const { address } = await world.publish({ 'index.html': 'one' })
  await pageOf(world, address)
  const second = await world.publish({ 'index.html': 'two' })
  const lost = new OverlayError('not-found', 'CONTENT_NOT_FOUND', 'lost')
  world.failOpen.set(second.snapshot, lost)
  assert.equal(await pageOf(world, address), 'one')
  await assert.rejects(world.open(address, { isolation: 'new' }), lost)
  world.failOpen.clear()
  world.records.failFind = new OverlayError('integrity', 'RECORD_STALE', 'rolled back')
  assert.equal(await pageOf(world, address), 'two', 'what the last record named')
  await assert.rejects(world.open(address, { isolation: 'new' }), hasCode('RECORD_STALE'))
  world.records.failFind = null
  assert.equal(await pageOf(world, address), 'two')
  world.close()
})

test('the pin never goes back, though a slow look gives an older record', async () => {
  const world = new SiteWorld()
  const { address } = await world.publish({ 'index.html': 'one' })
  const key = toHex(world.keys.get('home')!.publicKey)
  const old = world.records.records.get(key)!
  await world.publish({ 'index.html': 'two' })
  assert.equal(await pageOf(world, address), 'two')
  const now = world.records.records.get(key)!
  world.records.records.set(key, old)
  await pageOf(world, address)
  world.records.records.set(key, now)
  assert.equal(await pageOf(world, address, { pinned: true }), 'two')
  world.close()
})

test('isolations open everything under their own name', async () => {
  const world = new SiteWorld()
  const { address } = await world.publish({ 'index.html': 'one' })
  await pageOf(world, address, { isolation: 'a' })
  const first = world.opened.splice(0)
  assert.equal(first.length, 2)
  assert.ok(first.every((name) => name.startsWith('a/')))
  await pageOf(world, address, { isolation: 'b' })
  assert.deepEqual(
    world.opened,
    first.map((name) => name.replace(/^a/, 'b')),
  )
  world.close()
})

test('pins and opened versions are bounded, and forgotten when unused; nothing is left after close', async () => {
  let now = 0
  const timers = new FakeClock()
  const clock = { ...systemClock, monotonicMs: () => now as MonotonicMs, setTimer: timers.setTimer.bind(timers) }
  const world = new SiteWorld(1, clock)
  const { address } = await world.publish({ 'index.html': 'one' })
  for (let user = 0; user < 300; user++) await world.open(address, { isolation: `${user}` })
  assert.deepEqual(world.resolver.size, { sites: 16, pins: 256 })
  now = 61_000
  await timers.advance(30_000)
  assert.deepEqual(world.resolver.size, { sites: 0, pins: 256 })
  await world.publish({ 'index.html': 'two' })
  assert.equal(await pageOf(world, address, { isolation: '299', pinned: true }), 'one', 'the pin outlives the opened version')
  now = 1_900_000
  await timers.advance(30_000)
  assert.deepEqual(world.resolver.size, { sites: 0, pins: 0 })
  await world.open(address)
  world.close()
  await world.open(address)
  assert.deepEqual(world.resolver.size, { sites: 0, pins: 0 })
})

test('joined work is done once, goes on for who stays, ends with the last, and begins anew', async () => {
  const joined = new JoinedWork<number>()
  const ends: AbortSignal[] = []
  const results: ((value: number) => void)[] = []
  const start = (signal: AbortSignal) => {
    ends.push(signal)
    return new Promise<number>((resolve) => results.push(resolve))
  }
  const one = new AbortController()
  const two = new AbortController()
  const first = joined.join('x', one.signal, start)
  const second = joined.join('x', two.signal, start)
  assert.equal(results.length, 1)
  one.abort(new Error('one'))
  await assert.rejects(first, /one/)
  assert.ok(!ends[0]!.aborted)
  results[0]!(7)
  assert.equal(await second, 7)
  assert.equal(joined.size, 0)
  const third = new AbortController()
  const alone = joined.join('x', third.signal, start)
  third.abort(new Error('three'))
  await assert.rejects(alone, /three/)
  assert.ok(ends[1]!.aborted)
  const fresh = joined.join('x', never, start)
  assert.equal(results.length, 3)
  results[2]!(9)
  assert.equal(await fresh, 9)
  const failing = joined.join('y', never, async () => {
    throw new Error('failed')
  })
  await assert.rejects(failing, /failed/)
  assert.equal(joined.size, 0)
})
