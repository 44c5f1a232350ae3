/** Whatever a configuration holds, the outcome is a whole, frozen configuration within its ranges, or CONFIG_BAD. Seeded. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { type Config, KEYS, loadConfig, variableOf } from '../../src/config/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { fuzzAssert } from '../support/fuzzing.ts'

const SEED = 9740
const home = mkdtempSync(join(tmpdir(), 'gyre-fuzz-'))
after(() => rmSync(home, { recursive: true }))

const names = KEYS.map((key) => key.name)
const plausible = fc.constantFrom(
  ...[
    '127.0.0.1:9770',
    '[::1]:0',
    'localhost:1',
    ':80',
    '10GiB',
    '-1',
    '1e9',
    '0x10',
    'swift',
    'info',
    '4',
    '16',
    '17',
    '',
    ' ',
    ',',
    '\0',
  ],
  ...[
    '/ip4/127.0.0.1/tcp/9740',
    '/ip4/1.2.3.4/tcp/1/p2p/12D3KooWGjMCwzMqcWqTrBWoZKbY7yQbYiHgeRkQbDbcxT2yNdVd',
    'file:x',
    '__proto__',
  ],
)
const value = fc.oneof(
  plausible,
  fc.string({ maxLength: 40 }),
  fc.double(),
  fc.integer(),
  fc.boolean(),
  fc.array(plausible, { maxLength: 3 }),
  fc.constant(null),
)
const name = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...names) },
  { weight: 1, arbitrary: fc.constantFrom('__proto__', 'toString', 'x', '') },
)

/** The configuration, checked, or `null` for CONFIG_BAD; anything else fails the test. */
function attempt(run: () => Config): Config | null {
  try {
    const config = run()
    for (const key of KEYS) assert.ok(config[key.field] !== undefined)
    assert.ok(Object.isFrozen(config) && Object.isFrozen(config.listen) && Object.isFrozen(config.bootstrap))
    assert.ok(
      config.neighbours >= 1 &&
        config.neighbours <= 16 &&
        config.storeQuotaBytes >= 0 &&
        ('path' in config.api || config.api.port <= 65535),
    )
    assert.ok(config.dataDir.startsWith('/') && config.listen.every((one) => one.startsWith('/ip')))
    return config
  } catch (error) {
    assert.ok(isOverlayError(error, 'CONFIG_BAD'), String(error))
    return null
  }
}

test('flags and environment of any value', () => {
  let taken = 0
  const given = fc.record({
    flags: fc.dictionary(name, value, { maxKeys: 3 }),
    env: fc.dictionary(name, fc.string({ maxLength: 40 }), { maxKeys: 2 }),
  })
  fuzzAssert(
    fc.property(given, ({ flags, env }) => {
      const variables = Object.fromEntries(Object.entries(env).map(([key, text]) => [variableOf(key), text]))
      if (attempt(() => loadConfig({ flags, env: variables, home, cwd: home })) !== null) taken++
    }),
    { seed: SEED, numRuns: 3000 },
  )
  assert.ok(taken > 100, `only ${taken} were taken: the generator is too wild`)
})

test('TOML files, whole and damaged', () => {
  const path = join(home, 'fuzz.toml')
  const line = fc.tuple(name, value).map(([key, one]) => `${key} = ${JSON.stringify(one)}`)
  const text = fc.tuple(fc.array(line, { maxLength: 4 }), fc.nat(200), fc.string({ maxLength: 3 })).map(([lines, at, cut]) => {
    const whole = lines.join('\n')
    return at >= whole.length ? whole : whole.slice(0, at) + cut + whole.slice(at + 1)
  })
  fuzzAssert(
    fc.property(text, (content) => {
      writeFileSync(path, content)
      attempt(() => loadConfig({ flags: { config: path }, env: {}, home, cwd: home }))
    }),
    { seed: SEED, numRuns: 1500 },
  )
})
