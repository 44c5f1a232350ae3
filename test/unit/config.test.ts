/** Configuration: precedence, every refusal names its key and place, units, the frozen result, bootstrap files. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import {
  type Config,
  defaultConfig,
  formatHostPort,
  KEYS,
  loadConfig,
  parseBytes,
  parseHostPort,
  resolveBootstrap,
  variableOf,
} from '../../src/config/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'

const home = mkdtempSync(join(tmpdir(), 'gyre-config-'))
after(() => rmSync(home, { recursive: true, force: true }))
const peer = '12D3KooWGjMCwzMqcWqTrBWoZKbY7yQbYiHgeRkQbDbcxT2yNdVd'

function load(flags: Record<string, unknown> = {}, env: Record<string, string> = {}, cwd = home): Config {
  return loadConfig({ flags, env, home, cwd })
}

function refusal(run: () => unknown): string {
  let message = ''
  assert.throws(run, (error) => {
    if (!isOverlayError(error, 'CONFIG_BAD')) return false
    message = error.message
    return true
  })
  return message
}

test('defaults: everything on loopback, the folder in the home folder', () => {
  const config = load()
  assert.deepEqual(config, {
    dataDir: join(home, '.gyre'),
    listen: ['/ip4/127.0.0.1/tcp/9740'],
    bootstrap: [],
    api: { host: '127.0.0.1', port: 9770 },
    metrics: 'token',
    proxy: { host: '127.0.0.1', port: 9780 },
    socks: { host: '127.0.0.1', port: 9790 },
    network: 'main',
    storeQuotaBytes: 10 * 2 ** 30,
    clock: 'steady',
    cover: 'medium',
    fixedLoops: 4,
    fixedRate: 128,
    holdMs: null,
    bandwidth: 200e6,
    logLevel: 'info',
    neighbours: 4,
    acceptNeighbours: 8,
    addressFile: join(home, '.gyre', 'listen.addrs'),
  })
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.listen) && Object.isFrozen(config.api))
})

test('XDG_DATA_HOME holds the folder unless ~/.gyre is there', () => {
  const own = mkdtempSync(join(home, 'xdg-'))
  const env = { XDG_DATA_HOME: '/data' }
  assert.equal(loadConfig({ flags: {}, env, home: own }).dataDir, '/data/gyre')
  mkdirSync(join(own, '.gyre'))
  assert.equal(loadConfig({ flags: {}, env, home: own }).dataDir, join(own, '.gyre'))
  assert.equal(loadConfig({ flags: {}, env: { XDG_DATA_HOME: 'relative' }, home: own }).dataDir, join(own, '.gyre'))
})

test('file < environment < flags, key by key', () => {
  const dir = mkdtempSync(join(home, 'order-'))
  writeFileSync(
    join(dir, 'gyre.toml'),
    'network = "a"\nneighbours = 5\nlisten = ["/ip4/127.0.0.1/tcp/1"]\nstore-quota = "1GiB"\n',
  )
  const config = load(
    { 'data-dir': dir, neighbours: '7' },
    { GYRE_NETWORK: 'b', GYRE_NEIGHBOURS: '6', GYRE_LISTEN: '/ip4/127.0.0.1/tcp/2, /ip6/::1/tcp/3/ws' },
  )
  assert.equal(config.network, 'b')
  assert.equal(config.neighbours, 7)
  assert.deepEqual(config.listen, ['/ip4/127.0.0.1/tcp/2', '/ip6/::1/tcp/3/ws'])
  assert.equal(config.storeQuotaBytes, 2 ** 30)
})

test('a named file is used instead, and must be there', () => {
  const file = join(home, 'named.toml')
  writeFileSync(file, 'data-dir = "sub"\nbootstrap = ["file:addrs"]\n')
  assert.equal(load({ config: file }).dataDir, join(home, 'sub'))
  assert.deepEqual(load({}, { GYRE_CONFIG: file }).bootstrap, [`file:${join(home, 'addrs')}`])
  assert.match(
    refusal(() => load({ config: join(home, 'absent.toml') })),
    /absent\.toml cannot be read: .*\(ENOENT\)/,
  )
})

test('unknown keys are errors that list the known ones, wherever they stand', () => {
  const dir = mkdtempSync(join(home, 'unknown-'))
  writeFileSync(join(dir, 'gyre.toml'), 'netwrok = "a"\n')
  assert.match(
    refusal(() => load({ 'data-dir': dir })),
    /gyre\.toml: "netwrok".*"network"/,
  )
  assert.match(
    refusal(() => load({}, { GYRE_NETWROK: 'a' })),
    /GYRE_NETWROK.*GYRE_NETWORK/,
  )
  assert.match(
    refusal(() => load({ netwrok: 'a' })),
    /--netwrok.*--network/,
  )
})

test('a wrong value names its key, its place and what it takes', () => {
  const wrong: readonly (readonly [string, unknown])[] = [
    ['api', '127.0.0.1'],
    ['api', '127.0.0.1:70000'],
    ['api', '300.0.0.1:80'],
    ['api', 'example.org:80'],
    ['api', '[::zz]:80'],
    ['api', 'unix:'],
    ['metrics', 'all'],
    ['proxy', 9780],
    ['socks', 'localhost'],
    ['network', ''],
    ['network', 'a b'],
    ['network', '../x'],
    ['store-quota', '10 gigs'],
    ['store-quota', '-1'],
    ['store-quota', '99999999999TiB'],
    ['clock', 'slow'],
    ['cover', 'full'],
    ['fixed-loops', 0],
    ['fixed-loops', 33],
    ['fixed-rate', 100],
    ['fixed-rate', '8.0'],
    ['hold', 4],
    ['hold', 'none'],
    ['hold', '1001'],
    ['bandwidth', '200'],
    ['bandwidth', 200_000_000],
    ['bandwidth', '1Mbit'],
    ['bandwidth', '101Gbit'],
    ['bandwidth', '50MB'],
    ['log-level', 'trace'],
    ['neighbours', '0'],
    ['neighbours', 1.5],
    ['neighbours', '1e1'],
    ['accept-neighbours', 17],
    ['listen', '127.0.0.1:9740'],
    ['listen', ['/ip4/127.0.0.1/tcp/1', 7]],
    ['bootstrap', '/ip4/127.0.0.1/tcp/9740'],
    ['bootstrap', Array.from({ length: 65 }, () => `/ip4/127.0.0.1/tcp/9740/p2p/${peer}`)],
    ['data-dir', ''],
  ]
  for (const [name, value] of wrong) {
    assert.match(
      refusal(() => load({ [name]: value })),
      new RegExp(`"${name}"`),
      `${name}=${String(value)}`,
    )
  }
  assert.match(
    refusal(() => load({}, { GYRE_CLOCK: 'slow' })),
    /"clock" in the variable GYRE_CLOCK.*"swift"/,
  )
})

test('the address file follows the data folder, wherever that was said, unless it is named', () => {
  const file = join(home, 'folder.toml')
  writeFileSync(file, 'data-dir = "elsewhere"\n')
  assert.equal(load({ config: file }).addressFile, join(home, 'elsewhere', 'listen.addrs'))
  assert.equal(load({ 'address-file': 'shared/addrs' }).addressFile, join(home, 'shared', 'addrs'))
  assert.equal(defaultConfig({ dataDir: '/x', network: 'y' }).addressFile, '/x/listen.addrs')
})

test('TOML that is none says where', () => {
  const dir = mkdtempSync(join(home, 'toml-'))
  writeFileSync(join(dir, 'gyre.toml'), 'network = \n')
  assert.match(
    refusal(() => load({ 'data-dir': dir })),
    /not valid TOML/,
  )
})

test('sizes and HOST:PORT', () => {
  for (const [text, bytes] of [
    ['0', 0],
    ['65536', 65536],
    ['1KiB', 1024],
    ['1.5 MiB', 1572864],
    ['2GB', 2e9],
    [4096, 4096],
  ] as const) {
    assert.equal(parseBytes(text), bytes)
  }
  for (const text of ['127.0.0.1:0', '[::1]:80', 'localhost:65535']) assert.equal(formatHostPort(parseHostPort(text)), text)
})

test('the table of keys is whole: each default parses, each name is its own variable', () => {
  for (const key of KEYS) if (key.fallback !== null) key.parse(key.fallback)
  assert.equal(new Set(KEYS.map((key) => variableOf(key.name))).size, KEYS.length)
  assert.equal(variableOf('store-quota'), 'GYRE_STORE_QUOTA')
})

test('bootstrap files: waited for, read, checked line by line', async () => {
  const file = join(home, 'listen.addrs')
  const address = `/ip4/127.0.0.1/tcp/9740/p2p/${peer}`
  const config = load({ bootstrap: [`file:${file}`, address] })
  const { signal } = new AbortController()
  const resolving = resolveBootstrap(config, { clock: systemClock, signal })
  writeFileSync(file, `${address}\n/ip6/::1/tcp/1/p2p/${peer}\n/ip4/127.0.0.1/tcp/97`)
  const resolved = await resolving
  assert.deepEqual(resolved.bootstrap, [address, `/ip6/::1/tcp/1/p2p/${peer}`])
  writeFileSync(file, 'https://example.org/\n')
  await assert.rejects(resolveBootstrap(config, { clock: systemClock, signal }), (error) => isOverlayError(error, 'CONFIG_BAD'))
})

test('waiting for a bootstrap file ends with the signal', async () => {
  const controller = new AbortController()
  const waiting = resolveBootstrap(load({ bootstrap: [`file:${join(home, 'never')}`] }), {
    clock: systemClock,
    signal: controller.signal,
  })
  controller.abort(new Error('stop'))
  await assert.rejects(waiting, /stop/)
})
