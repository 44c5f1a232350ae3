/** The book of names: what is a name, what outlives restarts and damage, what an import may change. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { compareNames, isPetname, NAMES_MAX, openNameBook, parseBook, parseNames, skeleton } from '../../client/names/index.ts'
import { formatFileAddress, formatKeyAddress } from '../../src/content/address.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

const root = mkdtempSync(join(tmpdir(), 'gyre-names-'))
after(() => rmSync(root, { recursive: true }))
const key = (fill: number) => new Uint8Array(32).fill(fill)
const A = formatKeyAddress(key(1))
const B = formatKeyAddress(key(2))
const FILE = formatFileAddress(key(3))
const clock = new FakeClock()

function folder(): {
  readonly dataDir: string
  readonly file: string
  readonly warned: string[]
  open(): ReturnType<typeof openNameBook>
} {
  const dataDir = mkdtempSync(join(root, 'd-'))
  const warned: string[] = []
  const log = { warn: (text: string) => void warned.push(text) }
  return { dataDir, file: join(dataDir, 'names.json'), warned, open: () => openNameBook({ dataDir, clock, log }) }
}

test('names: lower case letters, digits, hyphens inside, 1 to 55; never as long as an address', () => {
  for (const name of ['a', '0', 'my-site', 'a--b', 'x'.repeat(55)]) assert.equal(isPetname(name), true, name)
  for (const name of ['', '-a', 'a-', 'A', 'a_b', 'a.b', 'é', 'a b', 'x'.repeat(56), 'a\n'])
    assert.equal(isPetname(name), false, name)
  assert.equal(isPetname(A), false)
})

test('a book outlives a restart; names are replaced and removed; addresses are kept in their one spelling', async () => {
  const { open, file } = folder()
  const book = await open()
  assert.equal(existsSync(file), false)
  await book.put('b', FILE.toUpperCase())
  await book.put('a', A, 'friends.json')
  assert.equal(book.find('b'), FILE)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const again = await open()
  assert.deepEqual(again.list(), [
    { name: 'a', address: A, source: 'friends.json', addedMs: FakeClock.START_UNIX_MS },
    { name: 'b', address: FILE, source: 'user', addedMs: FakeClock.START_UNIX_MS },
  ])
  await again.put('a', B)
  assert.equal(again.find('a'), B)
  assert.deepEqual([await again.remove('b'), await again.remove('b'), again.find('b')], [true, false, null])
  assert.deepEqual(
    (await open()).list().map(({ name }) => name),
    ['a'],
  )
})

test('what is no name, no address or no source is refused; the book is bounded', async () => {
  const book = await folder().open()
  for (const [name, address, source, code] of [
    ['A', A, 'user', 'CONFIG_BAD'],
    [A, B, 'user', 'CONFIG_BAD'],
    ['a', 'x', 'user', 'ADDRESS_BAD'],
    ['a', `${A.slice(0, 55)}a`, 'user', 'ADDRESS_BAD'],
    ['a', A, '', 'CONFIG_BAD'],
    ['a', A, 'x\u001b', 'CONFIG_BAD'],
    ['a', A, 'x'.repeat(65), 'CONFIG_BAD'],
  ] as const) {
    await assert.rejects(book.put(name, address, source), (error) => isOverlayError(error, code))
  }
  assert.deepEqual(book.list(), [])
  const { open, file } = folder()
  const names = Array.from({ length: NAMES_MAX }, (_, at) => ({ name: `n${at}`, address: A, source: 'user', addedMs: 1 }))
  writeFileSync(file, JSON.stringify({ version: 1, names }))
  const full = await open()
  await assert.rejects(full.put('another', A), (error) => isOverlayError(error, 'NAME_LIMIT'))
  await full.put('n0', B)
  assert.equal(full.find('n0'), B)
})

test('changes at once all get to disk, in order', async () => {
  const { open } = folder()
  const book = await open()
  await Promise.all([
    ...Array.from({ length: 20 }, (_, at) => book.put(`n${at}`, at % 2 === 0 ? A : B)),
    book.put('n0', B),
    book.remove('n1'),
  ])
  const names = (await open()).list()
  assert.deepEqual([names.length, names.find(({ name }) => name === 'n0')?.address], [19, B])
})

test('a change that cannot be written is not shown, and the next one works', async () => {
  const { open, dataDir } = folder()
  const book = await open()
  rmSync(dataDir, { recursive: true })
  await assert.rejects(book.put('a', A))
  assert.equal(book.find('a'), null)
})

test('a damaged book is set aside whole, and an empty one begins', async () => {
  const good = { name: 'a', address: A, source: 'user', addedMs: 1 }
  const bad: readonly unknown[] = [
    'not json',
    [],
    { version: 2, names: [] },
    { version: 1, names: {} },
    { version: 1, names: [good, good] },
    { version: 1, names: [{ ...good, name: 'A' }] },
    { version: 1, names: [{ ...good, address: 'x' }] },
    { version: 1, names: [{ ...good, source: 7 }] },
    { version: 1, names: [{ ...good, addedMs: -1 }] },
    { version: 1, names: [null] },
  ]
  for (const one of bad) {
    const { open, file, warned } = folder()
    const text = typeof one === 'string' ? one : JSON.stringify(one)
    writeFileSync(file, text)
    const book = await open()
    assert.deepEqual([book.list(), warned.length], [[], 1], text)
    assert.equal(readFileSync(`${file}.damaged`, 'utf8'), text)
    await book.put('a', A)
    assert.equal((await open()).find('a'), A)
  }
})

test('any text is a book or none, and a book reads as it was written', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      const parsed = parseBook(text)
      if (parsed !== null) for (const { name } of parsed) assert.ok(isPetname(name))
    }),
    { seed: 5, numRuns: 2_000 },
  )
})

test('imports: JSON of three forms and lines, each name once', () => {
  const expected = [
    { name: 'a', address: A },
    { name: 'b', address: FILE },
  ]
  const texts = [
    JSON.stringify({ a: A, b: FILE }),
    JSON.stringify({
      names: [
        { name: 'a', address: A, source: 'x' },
        { name: 'b', address: FILE },
      ],
    }),
    JSON.stringify([
      { name: 'a', address: `http://${A}.gyre/` },
      { name: 'b', address: FILE.toUpperCase() },
    ]),
    `# a book\na ${A}\n\nb\t${FILE} # a file\r\na ${A}\n`,
    `a = ${A}\nb, http://${FILE}.gyre\n`,
  ]
  for (const text of texts) assert.deepEqual(parseNames(text), expected, text)
  assert.deepEqual(parseNames(''), [])
})

test('imports with anything wrong in them are refused whole, with the place', () => {
  for (const [text, place] of [
    [`a ${A}\nB ${B}`, /Line 2/],
    [`a ${A}\na ${B}`, /twice/],
    ['a x', /Line 1.*not a Gyre address/],
    [`a ${A} more`, /Line 1/],
    ['{"a": 1}', /Entry 1/],
    ['{"names": null}', /Entry 1/],
    ['[{"name":"a"}]', /Entry 1/],
    ['{', /JSON/],
    [JSON.stringify(Object.fromEntries(Array.from({ length: NAMES_MAX + 1 }, (_, at) => [`n${at}`, A]))), /more than/],
  ] as const) {
    assert.throws(
      () => parseNames(text),
      (error) => isOverlayError(error, 'CONFIG_BAD') && place.test(error.message),
      text.slice(0, 60),
    )
  }
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      try {
        for (const { name } of parseNames(text)) assert.ok(isPetname(name))
      } catch (error) {
        assert.ok(isOverlayError(error, 'CONFIG_BAD'), String(error))
      }
    }),
    { seed: 6, numRuns: 2_000 },
  )
})

test('a comparison tells new, same, collision, what looks alike and what is also known', () => {
  const entry = (name: string, address: string) => ({ name, address, source: 'user', addedMs: 1 })
  const book = [entry('paypal', A), entry('mail', B), entry('wiki', FILE)]
  const states = compareNames(
    [
      { name: 'paypa1', address: B },
      { name: 'mail', address: B },
      { name: 'rnail', address: A },
      { name: 'wiki', address: A },
      { name: 'pay-pal', address: A },
    ],
    book,
  )
  assert.deepEqual(
    states.map(({ name, state, alike, also }) => [name, state, alike, also]),
    [
      ['paypa1', 'new', ['paypal'], ['mail']],
      ['mail', 'same', [], []],
      ['rnail', 'new', ['mail'], ['paypal']],
      ['wiki', 'collision', [], ['paypal']],
      ['pay-pal', 'new', [], ['paypal']],
    ],
  )
  assert.equal(skeleton('vvi5e-5it3'), skeleton('wise-sit3'))
})
