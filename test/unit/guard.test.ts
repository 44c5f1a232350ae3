/** The guard around streams and folders: what stops a publication, what goes on, confirmations, names, stripping. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import {
  CONFIRMATION_MS,
  CONFIRMATIONS_MAX,
  Confirmations,
  contentOf,
  GuardObjection,
  guarded,
  guardedFiles,
  type OddEntry,
  type SurveyOptions,
  shown,
  survey,
} from '../../client/guard/index.ts'
import { judgePath } from '../../client/guard/path-rules.ts'
import { stripped } from '../../client/guard/strip.ts'
import type { SiteFile } from '../../client/library.ts'
import { concat, utf8 } from '../../src/bytes/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  exifSegment,
  ICC,
  JFIF,
  jpeg,
  PNG_END,
  PNG_HEAD,
  PNG_PIXELS,
  PNG_SIGNATURE,
  pdf,
  png,
  pngChunk,
  SCAN,
  segment,
  TABLES,
  tiff,
} from '../support/pictures.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SEED = 3_108
const SECRET = `-----BEGIN ${'PRIVATE'} KEY-----\n${'MC4CAQAwBQYDK2VwBCIEIJ'.repeat(4)}\n`
const dir = mkdtempSync(join(tmpdir(), 'gyre-guard-'))
after(() => rmSync(dir, { recursive: true }))

async function* chunks(bytes: Uint8Array, cut = 1000): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; at += cut) yield bytes.subarray(at, at + cut)
}

async function all(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of content) parts.push(part.slice())
  return concat(...parts)
}

/** What a publisher takes until the stream ends or fails. */
async function taken(
  content: AsyncIterable<Uint8Array>,
): Promise<{ readonly bytes: number; readonly objection: GuardObjection | null }> {
  let bytes = 0
  try {
    for await (const part of content) bytes += part.length
  } catch (error) {
    assert.ok(error instanceof GuardObjection, String(error))
    return { bytes, objection: error }
  }
  return { bytes, objection: null }
}

const publish = { purpose: 'publish', confirmed: null }

test('names: what is known as private, alone and in folders; what is not', () => {
  const refused: Readonly<Record<string, readonly string[]>> = {
    'version-control': ['.git/config', 'a/.GIT/HEAD', '.hg/x', '.svn/entries', 'CVS/Root', '.git'],
    credentials: [
      '.ssh/config',
      '.aws/credentials',
      '.netrc',
      '.npmrc',
      'b/.htpasswd',
      '.config/x',
      'secrets.yml',
      'terraform.tfstate',
      'wp-config.php',
    ],
    environment: ['.env', '.env.production', '.envrc', 'a/b/.env.local'],
    'private-key': ['id_rsa', 'id_ed25519', 'server.key', 'a.p12', 'x.PFX', 'ssh_host_rsa_key'],
    'password-store': ['db.kdbx', 'logins.json', 'Login Data', 'key4.db', 'Cookies', 'p/cookies.sqlite'],
    wallet: ['wallet.dat', 'UTC--2026-01-01T00-00-00.000Z--abc', 'my.wallet', 'seed.txt', 'Recovery Phrase.txt', '.bitcoin/x'],
    history: ['.bash_history', '.zsh_history', '.python_history', '.viminfo', '.node_repl_history'],
    backup: ['.a.txt.swp', 'notes~', 'index.html.bak', '#draft#', 'x.orig'],
    'core-dump': ['core', 'core.1234', 'a.dmp', 'heap.hprof'],
    litter: ['.DS_Store', 'Thumbs.db', '__MACOSX/x', '._photo.jpg', 'desktop.ini'],
    'gyre-data': ['.gyre/identity', 'api.token'],
    hidden: ['.hidden', '.cache/x', 'a/.b/c'],
  }
  for (const [rule, paths] of Object.entries(refused)) {
    for (const path of paths) assert.equal(judgePath(path)[0]?.rule, rule, path)
  }
  for (const path of [
    'index.html',
    'a/b/c.txt',
    '.well-known/security.txt',
    '.nojekyll',
    'core/index.js',
    'Cookies/recipe.html',
    'id_rsa.pub',
    'key.html',
    'environment.ts',
    'git/x',
    'cert.pem',
    'history.html',
    'seeds.html',
    'wallet.html',
    'backup/a.txt',
    'core.js',
    'keys.json',
  ]) {
    assert.deepEqual(judgePath(path), [], path)
  }
  assert.deepEqual(
    judgePath('.git/.env').map(({ where }) => where),
    ['.git', '.git/.env'],
  )
})

test('a clean body goes through as it is', async () => {
  const body = seededRng(SEED).bytes(700_000)
  assert.deepEqual(await all(guarded(chunks(body, 65_536), 'a.bin', publish)), body)
  assert.equal((await taken(guarded(chunks(new Uint8Array(0)), '', publish))).objection, null)
})

test('a secret in the middle stops a body before its end, and the rest is read but goes nowhere', async () => {
  const body = concat(new Uint8Array(900_000), utf8(`\n${SECRET}`), new Uint8Array(5_000_000))
  let read = 0
  const source = (async function* () {
    for await (const chunk of chunks(body, 65_536)) {
      read += chunk.length
      yield chunk
    }
  })()
  const { bytes, objection } = await taken(guarded(source, 'a.bin', publish))
  assert.equal(read, body.length)
  assert.ok(bytes < 1_400_000, String(bytes))
  assert.deepEqual(
    objection?.listing.files.map(({ path, bytes: length, verdict }) => [path, length, verdict]),
    [['a.bin', body.length, 'refused']],
  )
  assert.match(objection?.message ?? '', /a\.bin: holds a private key/)
  assert.doesNotMatch(JSON.stringify(objection?.listing), /MC4CAQ/)
})

test('a private name lets nothing out at all; a secret at the very end is seen', async () => {
  assert.equal((await taken(guarded(chunks(new Uint8Array(10)), '.env', publish))).bytes, 0)
  const { objection } = await taken(guarded(chunks(concat(new Uint8Array(100), utf8(`\n${SECRET}`))), '', publish))
  assert.equal(objection?.listing.files[0]?.path, '-')
})

test('a confirmation lets out exactly what was shown, for that purpose alone', async () => {
  const clock = new FakeClock()
  const confirmations = new Confirmations({ clock, rng: seededRng(SEED) })
  const body = concat(utf8(SECRET), new Uint8Array(100_000))
  const first = await taken(guarded(chunks(body), 'k', publish))
  const token = confirmations.issue(first.objection!.digest)
  assert.match(token, /^[A-Za-z0-9_-]{24}$/)
  const confirmed = confirmations.find(token)
  assert.deepEqual(await all(guarded(chunks(body, 77), 'k', { ...publish, confirmed })), body)
  const changed = body.slice()
  changed[changed.length - 1]! ^= 1
  for (const [bytes, name, purpose] of [
    [changed, 'k', 'publish'],
    [body.subarray(0, -1), 'k', 'publish'],
    [body, 'other', 'publish'],
    [body, 'k', 'site a'],
  ] as const) {
    assert.notEqual((await taken(guarded(chunks(bytes), name, { purpose, confirmed }))).objection, null)
  }
  await clock.advance(CONFIRMATION_MS)
  assert.equal(confirmations.find(token), null)
  assert.equal(confirmations.find('never'), null)
})

test('confirmations are bounded: the oldest goes', () => {
  const confirmations = new Confirmations({ clock: new FakeClock(), rng: seededRng(SEED) })
  const tokens = Array.from({ length: CONFIRMATIONS_MAX + 1 }, (_, at) => confirmations.issue(String(at)))
  assert.equal(confirmations.find(tokens[0]!), null)
  assert.equal(confirmations.find(tokens[1]!), '1')
})

interface Given {
  readonly path: string
  readonly content?: Uint8Array | string
  readonly odd?: OddEntry['odd']
}

async function* siteOf(files: readonly Given[], opened: string[] = []): AsyncGenerator<SiteFile | OddEntry, void, undefined> {
  for (const { path, content = '', odd } of files) {
    if (odd !== undefined) yield { path, odd }
    const bytes = typeof content === 'string' ? utf8(content) : content
    if (odd !== undefined) continue
    yield {
      path,
      bytes: bytes.length,
      open: () => {
        opened.push(path)
        return chunks(bytes)
      },
    }
  }
}

/** Publishes as a site publisher would; `skip`: files that it does not open. */
async function site(files: readonly Given[], confirmed: string | null = null, skip: readonly string[] = []) {
  const out: Record<string, string> = {}
  const opened: string[] = []
  try {
    for await (const file of guardedFiles(siteOf(files, opened), { purpose: 'site a', confirmed })) {
      if (!skip.includes(file.path)) out[file.path] = Buffer.from(await all(file.open())).toString()
    }
  } catch (error) {
    assert.ok(error instanceof GuardObjection, String(error))
    return { out, opened, objection: error }
  }
  return { out, opened, objection: null }
}

test('a clean site goes through; one with an objection is read to its end and fails, wherever that stands', async () => {
  const clean = [{ path: 'a', content: 'x' }, { path: 'b/c', content: 'y'.repeat(5000) }, { path: 'empty' }]
  assert.deepEqual((await site(clean)).out, { a: 'x', 'b/c': 'y'.repeat(5000), empty: '' })
  assert.deepEqual((await site([])).objection, null)
  const bad = [
    { path: '.env', content: 'A=1' },
    { path: 'k.txt', content: SECRET },
    { path: 'link', odd: 'symbolic link' as const },
  ]
  for (const one of bad) {
    for (let at = 0; at <= clean.length; at++) {
      const files: Given[] = [...clean.slice(0, at), one, ...clean.slice(at)]
      for (const skip of [[], [one.path]]) {
        const { objection, out, opened } = await site(files, null, skip)
        assert.deepEqual([objection?.listing.objections, objection?.listing.total.files], [1, files.length])
        assert.deepEqual(
          opened.sort(),
          files
            .filter((file) => file.odd === undefined)
            .map(({ path }) => path)
            .sort(),
        )
        for (const later of clean.slice(at)) assert.equal(out[later.path], undefined)
        const { objection: none, out: confirmedOut } = await site(files, objection!.digest, skip)
        assert.equal(none, null)
        assert.equal(Object.keys(confirmedOut).length, files.length - (one.path === 'link' || skip.length > 0 ? 1 : 0))
      }
    }
  }
})

test('all objections are listed, not the first alone; the listing is bounded', async () => {
  const { objection } = await site([{ path: '.env' }, { path: 'a', content: SECRET }, { path: 'b' }, { path: '.git/x' }])
  assert.deepEqual(
    objection?.listing.files.map(({ path, verdict }) => [path, verdict]),
    [
      ['.env', 'refused'],
      ['a', 'refused'],
      ['b', 'ok'],
      ['.git/x', 'refused'],
    ],
  )
  const many = await site(Array.from({ length: 6_000 }, (_, at) => ({ path: `.x/${at}` })))
  assert.deepEqual(
    [many.objection?.listing.objections, many.objection?.listing.files.length, many.objection?.listing.unlisted],
    [6_000, 5_000, 1_000],
  )
})

test('a source that fails in the middle fails the publication with its own error', async () => {
  const broken = (async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    yield utf8(SECRET)
    throw new Error('gone')
  })()
  await assert.rejects(all(guarded(broken, 'x', publish)), /gone/)
})

function put(root: string, files: Readonly<Record<string, string | Uint8Array>>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, root, path)), { recursive: true })
    writeFileSync(join(dir, root, path), content)
  }
  return join(dir, root)
}

const { signal } = new AbortController()
const look = (root: string, options: Partial<SurveyOptions> = {}) =>
  survey(root, { allow: [], strip: false, dataDir: join(dir, 'data'), signal, ...options })
const verdicts = async (root: string, options: Partial<SurveyOptions> = {}) =>
  Object.fromEntries(
    (await look(root, options)).listing.files.map(({ path, verdict, allowed, findings }) => [
      path,
      verdict === 'ok' ? 'ok' : `${allowed ? 'allowed ' : ''}${findings.map(({ rule }) => rule).join(' ')}`,
    ]),
  )

test('a folder: names, content, refused folders as one line, allowed one by one', async () => {
  const root = put('folder', {
    'index.html': '<p>hello',
    '.git/config': 'x',
    '.git/objects/aa': 'x',
    '.env': 'A=1',
    'sub/key.txt': SECRET,
    'sub/doc.pdf': pdf('/Author (Jane)'),
    '.well-known/x': '',
  })
  const refused = { '.git/': 'version-control', '.env': 'environment', 'sub/key.txt': 'private-key', 'sub/doc.pdf': 'author' }
  assert.deepEqual(await verdicts(root), { 'index.html': 'ok', '.well-known/x': 'ok', ...refused })
  const { listing } = await look(root)
  assert.deepEqual([listing.objections, listing.total.files], [4, 6])
  assert.deepEqual(await verdicts(root, { allow: ['.env', join(root, 'sub/key.txt'), './sub/doc.pdf', '.git/'] }), {
    'index.html': 'ok',
    '.well-known/x': 'ok',
    '.env': 'allowed environment',
    '.git/config': 'allowed version-control',
    '.git/objects/aa': 'allowed version-control',
    'sub/key.txt': 'allowed private-key',
    'sub/doc.pdf': 'allowed author',
  })
  assert.deepEqual((await look(root, { allow: ['sub'] })).listing.objections, 4)
  // A folder that was named does not let out a key in it.
  put('folder', { '.git/id_rsa': 'x' })
  assert.equal((await verdicts(root, { allow: ['.git'] }))['.git/id_rsa'], 'version-control private-key')
})

test('links: followed inside, judged by both names, refused when they leave or go round', async () => {
  const outside = put('outside', { 'o.txt': 'outside', 'folder/p.txt': 'p' })
  const root = put('links', { 'a.txt': 'inside', '.env': 'A=1', 'sub/b.txt': 'b' })
  symlinkSync('a.txt', join(root, 'l-file'))
  symlinkSync('.env', join(root, 'l-hidden'))
  symlinkSync('sub', join(root, 'l-folder'))
  symlinkSync('..', join(root, 'sub', 'l-round'))
  symlinkSync(join(outside, 'o.txt'), join(root, 'l-out'))
  symlinkSync(outside, join(root, 'l-out-folder'))
  symlinkSync('nowhere', join(root, 'l-nothing'))
  assert.deepEqual(await verdicts(root), {
    'a.txt': 'ok',
    'l-file': 'ok',
    'l-hidden': 'environment',
    'l-folder/b.txt': 'ok',
    'l-folder/l-round': 'link',
    'sub/b.txt': 'ok',
    'sub/l-round': 'link',
    'l-out': 'link',
    'l-out-folder/': 'link',
    'l-nothing': 'link',
    '.env': 'environment',
  })
  const named = await look(root, { allow: ['l-out', 'l-out-folder', 'l-nothing'] })
  const sources = new Map(named.files.map(({ path, source }) => [path, source]))
  assert.equal(sources.get('l-out'), join(outside, 'o.txt'))
  assert.equal(sources.get('l-out-folder/folder/p.txt'), join(outside, 'folder/p.txt'))
  assert.equal(sources.has('l-nothing'), false)
})

test('sockets, large files, this node’s own folder, a file alone', async () => {
  const root = put('odd', { 'a.txt': 'a', 'large.bin': '', 'data/identity': 'x' })
  truncateSync(join(root, 'large.bin'), 5_000_000)
  const server = createServer().listen(join(root, 'socket'))
  await new Promise((resolve) => server.once('listening', resolve))
  assert.deepEqual(await verdicts(root, { fileBytesMax: 4_000_000, dataDir: join(root, 'data') }), {
    'a.txt': 'ok',
    'large.bin': 'large',
    socket: 'odd-entry',
    'data/': 'gyre-data',
  })
  server.close()
  assert.deepEqual(await verdicts(join(root, 'large.bin'), { fileBytesMax: 1 }), { 'large.bin': 'ok' })
  assert.deepEqual(await verdicts(join(root, 'data'), { dataDir: join(root, 'data') }), { identity: 'gyre-data' })
  assert.deepEqual(await verdicts(join(root, 'data', 'identity'), { dataDir: join(root, 'data') }), { identity: 'gyre-data' })
  assert.deepEqual(await verdicts(`${put('one', { 'k.txt': SECRET })}/k.txt`, { allow: [join(dir, 'one/k.txt')] }), {
    'k.txt': 'allowed private-key',
  })
  await assert.rejects(look(join(dir, 'absent')), (error) => isOverlayError(error, 'FILE_FAILED'))
})

test('a file that changes after it was looked at does not go out', async () => {
  const root = put('changing', { 'a.txt': 'aaaa', 'b.txt': 'bbbb', 'c.txt': 'cccc', 'd.txt': 'dddd', secret: 'ssss' })
  const { files } = await look(root)
  const content = (name: string) => all(contentOf(files.find(({ path }) => path === name)!, false, signal))
  assert.deepEqual(await content('a.txt'), utf8('aaaa'))
  writeFileSync(join(root, 'a.txt'), 'longer')
  rmSync(join(root, 'b.txt'))
  symlinkSync('secret', join(root, 'b.txt'))
  renameSync(join(root, 'secret'), join(root, 'c.txt'))
  rmSync(join(root, 'd.txt'))
  for (const name of ['a.txt', 'b.txt', 'c.txt', 'd.txt']) {
    await assert.rejects(content(name), (error) => isOverlayError(error, 'FILE_FAILED'), name)
  }
})

test('paths are shown without what could steer a terminal', () => {
  assert.equal(shown('a\u001b[2J\n\u202eb\u0000é'), 'a\ufffd[2J\ufffd\ufffdb\ufffdé')
})

const position = { gps: [{ tag: 1, value: 'N' }] }
const strip = async (bytes: Uint8Array, cut = 1000) => all(stripped(chunks(bytes, cut)))

test('stripping keeps every other byte of a JPEG: tables, pixels, colour profile, and the orientation', async () => {
  const adobe = segment(0xee, utf8('Adobe'), new Uint8Array(7))
  const kept = [JFIF, ICC, adobe]
  const dropped = [
    exifSegment(position),
    segment(0xfe, utf8('a comment')),
    segment(0xe2, utf8('MPF\0')),
    segment(0xe5, utf8('own')),
  ]
  const mixed = [JFIF, dropped[0]!, ICC, dropped[1]!, adobe, dropped[2]!, dropped[3]!]
  assert.deepEqual(await strip(jpeg(mixed, utf8('trailer'))), jpeg(kept))
  assert.deepEqual(await strip(jpeg(kept)), jpeg(kept))
  const turned = exifSegment({
    main: [
      { tag: 0x0112, value: 6 },
      { tag: 0x013b, value: 'Jane Doe' },
    ],
    ...position,
  })
  const result = await strip(jpeg([turned]))
  const minimal = segment(
    0xe1,
    utf8('Exif\0\0'),
    Uint8Array.of(0x49, 0x49, 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0),
  )
  assert.deepEqual(result, jpeg([minimal]))
})

test('stripping keeps every other byte of a PNG, and its orientation', async () => {
  const kept = [pngChunk('gAMA', new Uint8Array(4)), pngChunk('acTL', new Uint8Array(8))]
  const dropped = [
    pngChunk('tEXt', utf8('Author\0Jane')),
    pngChunk('tIME', new Uint8Array(7)),
    pngChunk('eXIf', tiff(position)),
    pngChunk('iTXt', utf8('x')),
  ]
  assert.deepEqual(
    await strip(png([dropped[0]!, kept[0]!, dropped[1]!, dropped[2]!, kept[1]!, dropped[3]!], utf8('after'))),
    png(kept),
  )
  const result = await strip(png([pngChunk('eXIf', tiff({ main: [{ tag: 0x0112, value: 3 }], ...position }))]))
  assert.deepEqual(result.subarray(0, 8 + PNG_HEAD.length), concat(PNG_SIGNATURE, PNG_HEAD))
  assert.deepEqual(result.subarray(result.length - PNG_PIXELS.length - PNG_END.length), concat(PNG_PIXELS, PNG_END))
  assert.equal((await taken(guarded(chunks(result), 'a.png', publish))).objection, null)
})

test('stripping is the same however the file is cut, and leaves other files as they are', async () => {
  const pictures = [
    jpeg([JFIF, exifSegment(position), ICC], utf8('x')),
    png([pngChunk('tEXt', utf8('Author\0J')), pngChunk('eXIf', tiff(position))]),
  ]
  const expected = [jpeg([JFIF, ICC]), png([])]
  for (const cut of [1, 2, 3, 5, 64, 4096])
    for (const at of [0, 1]) assert.deepEqual(await strip(pictures[at]!, cut), expected[at])
  for (const other of [utf8(''), utf8('x'), utf8('hello, this is text'), pdf('/Author (J)')])
    assert.deepEqual(await strip(other, 3), other)
})

test('a folder is surveyed as it goes out: stripped where that was asked for', async () => {
  const root = put('strip', { 'a.jpg': jpeg([JFIF, exifSegment(position)]), 'b.pdf': pdf('/Author (J)'), 'c.txt': 'c' })
  assert.deepEqual(await verdicts(root), { 'a.jpg': 'position', 'b.pdf': 'author', 'c.txt': 'ok' })
  assert.deepEqual(await verdicts(root, { strip: true }), { 'a.jpg': 'ok', 'b.pdf': 'author', 'c.txt': 'ok' })
  const { files } = await look(root, { strip: true })
  assert.deepEqual(files.find(({ path }) => path === 'a.jpg')?.bytes, jpeg([JFIF]).length)
})

test('scans and tables are the same bytes after any metadata around them', async () => {
  const marker = fc.constantFrom(0xe1, 0xe2, 0xe3, 0xed, 0xfe)
  const extra = fc.array(fc.tuple(marker, fc.uint8Array({ maxLength: 300 })), { maxLength: 6 })
  await fc.assert(
    fc.asyncProperty(extra, fc.integer({ min: 1, max: 500 }), fc.uint8Array({ maxLength: 100 }), async (segments, cut, after) => {
      const bytes = jpeg(
        segments.map(([code, body]) => segment(code, body)),
        after,
      )
      const result = await strip(bytes, cut)
      assert.deepEqual(result.subarray(result.length - concat(...TABLES, SCAN).length), concat(...TABLES, SCAN))
      assert.deepEqual(await strip(result, 7), result)
    }),
    { seed: SEED, numRuns: 200 },
  )
})
