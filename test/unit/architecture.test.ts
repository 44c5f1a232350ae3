/**
 * Who may import whom, and what may stand where (DESIGN §2, STYLE "Layout"). Walks every source file. An exception is listed here with its
 * reason, or it is a breach; an exception that nobody uses any more fails as well.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { folderNames, parseSource, type SourceFile, type SourceImport, sourceFiles } from '../support/source-tree.ts'

const files = sourceFiles('src', 'relay', 'client')
const known = new Set(files.map(({ path }) => path))

/** `src/link` for `src/link/libp2p/host.ts`, `relay` and `client` for all below them, else the name as it is. */
function partOf(path: string): string {
  const [top, folder] = path.split('/')
  return top === 'src' ? `src/${folder}` : (top ?? path)
}

/** All imports that break a rule, as text. */
function breaches(rule: (file: SourceFile, imported: SourceImport) => boolean): string[] {
  return files.flatMap((file) =>
    file.imports.filter((imported) => !rule(file, imported)).map(({ specifier }) => `${file.path} imports ${specifier}`),
  )
}

/** The layers of `src/`, upper ones first. A part imports parts of lower rows, and of its own row only where it says so. */
const LAYERS: readonly (readonly string[])[] = [
  ['service'],
  ['content', 'directory', 'stream', 'log'],
  ['circuit', 'config'],
  ['link'],
  ['cell'],
  ['crypto', 'wire'],
  ['runtime'],
  ['bytes', 'errors'],
]
const rank: ReadonlyMap<string, number> = new Map(LAYERS.flatMap((row, at) => row.map((part) => [`src/${part}`, at] as const)))

test('the walk sees what there is', () => {
  assert.ok(files.length > 60)
  const imports = files.flatMap((file) => file.imports)
  assert.ok(imports.length > 300)
  for (const { target, specifier } of imports) {
    if (!specifier.startsWith('.') || target.startsWith('src/wire/generated/') || target.endsWith('.json')) continue
    assert.ok(known.has(target), `${specifier} is not found as ${target}`)
    assert.ok(specifier.endsWith('.ts'), `${specifier} does not end in .ts`)
  }
})

test('the walk is not fooled by comments, strings, templates or regular expressions, and finds every form of import', () => {
  const text = [
    '/** Date.now() is not here. */',
    "import { a, type B } from '../cell/index.ts'",
    "import type { C } from 'libp2p'",
    "import { type D, type E } from '@libp2p/interface'",
    "export * from './other.ts'",
    "import 'protobufjs'",
    "const late = await import('pino')",
    "const addon = createRequire(import.meta.url)('sodium-native')",
    "const text = 'Math.random()' // setTimeout(",
    ["const url = 'http://x' + `Buffer $", '{real()} Buffer`'].join(''),
    'const found = /Buffer\\/[\'"]/.test(text)',
    'setImmediate(f)',
  ].join('\n')
  const { code, imports } = parseSource('src/link/x.ts', text)
  assert.deepEqual(imports.map(({ target, typeOnly }) => `${target}${typeOnly ? ' (types)' : ''}`).sort(), [
    '@libp2p/interface (types)',
    'libp2p (types)',
    'pino',
    'protobufjs',
    'sodium-native',
    'src/cell/index.ts',
    'src/link/other.ts',
  ])
  assert.doesNotMatch(code, /Date|Math|setTimeout|Buffer/)
  assert.match(code, /real\(\)/)
  assert.match(code, /setImmediate/)
})

test('relay/ never imports client/; client/ reaches relay/ only from client/node.ts; src/ imports neither', () => {
  assert.deepEqual(
    breaches(({ path }, { target }) => {
      const from = partOf(path)
      const to = partOf(target)
      if (to === 'test') return false
      if (from === 'relay') return to !== 'client'
      if (from === 'client') return to !== 'relay' || path === 'client/node.ts'
      return to !== 'relay' && to !== 'client'
    }),
    [],
  )
})

test('inside src/ imports point downwards: service → content, directory, stream → circuit → link → cell → crypto, wire → bytes, runtime, errors', () => {
  for (const { path } of files) if (path.startsWith('src/')) assert.ok(rank.has(partOf(path)), `${path}: a part without a layer`)
  assert.deepEqual(
    breaches(({ path }, { target }) => {
      const from = partOf(path)
      const to = partOf(target)
      if (!path.startsWith('src/') || !target.startsWith('src/') || from === to) return true
      return rank.get(to)! > rank.get(from)!
    }),
    [],
  )
})

/** Packages and the only folders that may import them. */
const CONFINED: readonly (readonly [RegExp, RegExp])[] = [
  [/^(libsodium|sodium-)/, /^src\/crypto\//],
  [/^(libp2p$|libp2p\/|@libp2p\/|@multiformats\/|multiformats|@chainsafe\/|it-|uint8arraylist)/, /^src\/link\/libp2p\//],
  [/^protobufjs/, /^src\/wire\//],
  [/^fastify|^@fastify\//, /^client\/(api|console)\//],
  [/^lmdb/, /^relay\/store\//],
  [/^pino/, /^src\/log\//],
  [/^smol-toml/, /^src\/config\//],
  [/^commander/, /^client\/cli\//],
]

test('libsodium only in src/crypto, libp2p only in src/link/libp2p, protobufjs only in src/wire, and so on', () => {
  assert.deepEqual(
    breaches(({ path }, { target }) => CONFINED.every(([packages, where]) => !packages.test(target) || where.test(path))),
    [],
  )
})

test('threads only where links have one', () => {
  assert.deepEqual(
    breaches(({ path }, { target }) => target !== 'node:worker_threads' || path.startsWith('src/link/thread/')),
    [],
  )
})

test('sockets and the DNS only where links, proxies and the API are', () => {
  assert.deepEqual(
    breaches(({ path }, { target, typeOnly }) => {
      if (!/^node:(net|tls|dgram|dns|dns\/promises|http|https|http2)$/.test(target) || typeOnly) return true
      // Services connect to the TCP targets that their user configured.
      if (target === 'node:net' && /^client\/service\/(forward|state)\.ts$/.test(path)) return true
      return /^(src\/link\/libp2p|client\/(api|proxy|http|cli|testnet|console))\//.test(path)
    }),
    [],
  )
})

/** All places where `pattern` stands in code (not in comments or strings). */
function places(pattern: RegExp, where: (path: string) => boolean): string[] {
  return files.flatMap(({ path, code }) => {
    if (!where(path)) return []
    return [...code.matchAll(pattern)].map(([found]) => `${path}: ${found}`)
  })
}

/** Randomness that decides nothing and is no secret. */
const HARMLESS = new Set([
  'client/cli/fetch.ts: randomUUID', // the name of a file that is renamed when it is whole
])

test('time, timers and randomness come from src/runtime alone', () => {
  const doors =
    /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bsetTimeout\b|\bsetInterval\b|\bsetImmediate\b|\bgetRandomValues\b|\brandomBytes\b|\brandomUUID\b|\brandomInt\b|\bperformance\.now\b|\bprocess\.hrtime\b|\bAbortSignal\.timeout\b/g
  assert.deepEqual(
    places(doors, (path) => !path.startsWith('src/runtime/')).filter((place) => !HARMLESS.has(place)),
    [],
  )
  assert.deepEqual(
    breaches(({ path }, { target }) => !/^node:timers/.test(target) || path.startsWith('src/runtime/')),
    [],
  )
})

/** What every cell passes. */
const DATA_PATH =
  /^(src\/(bytes|cell|circuit|stream|service|runtime)\/|src\/link\/[^/]+$|relay\/[^/]+$|relay\/rendezvous\/|client\/loops\/)/

test('no Buffer in the data path', () => {
  assert.ok(files.filter(({ path }) => DATA_PATH.test(path)).length > 30)
  assert.deepEqual(
    places(/\bBuffer\b/g, (path) => DATA_PATH.test(path)),
    [],
  )
})

test('no promise, listener or timer in what handles each cell', () => {
  const perCell = [
    'src/circuit/layers.ts',
    'src/stream/frames.ts',
    'src/stream/mux.ts',
    'src/service/exchange.ts',
    'src/service/frames.ts',
    'src/service/payload.ts',
    'src/service/session.ts',
    'src/service/stream.ts',
    'src/stream/pairing.ts',
    'src/stream/ridden.ts',
    'src/stream/stream-state.ts',
    'src/link/lanes.ts',
    'src/link/inbox.ts',
    'relay/hop.ts',
    'relay/paced-line.ts',
    'relay/control-line.ts',
    'relay/thread-lines.ts',
    'relay/rendezvous/meeting.ts',
    'relay/rendezvous/payload-queue.ts',
  ]
  for (const path of perCell) assert.ok(known.has(path), path)
  assert.deepEqual(
    places(/\bawait\b|\basync\b|\bPromise\b|\baddEventListener\b|\.emit\(|\bBigInt\b/g, (path) => perCell.includes(path)),
    [],
  )
})

test('no default exports, no module-level let, no folder named after a pattern', () => {
  assert.deepEqual(
    places(/\bexport default\b|\bmodule\.exports\b/g, () => true),
    [],
  )
  assert.deepEqual(
    places(/^(?:export )?(?:let|var) .*/gm, () => true),
    [],
  )
  const patterns = /(^|\/)(utils?|helpers?|managers?|common|types|misc|lib|shared)\/?$/
  assert.deepEqual(
    folderNames('src', 'relay', 'client', 'test').filter((path) => patterns.test(path)),
    [],
  )
})

test('every file says at its top what it is for', () => {
  assert.deepEqual(
    files.filter(({ path, text }) => path.endsWith('.ts') && !/^(#![^\n]*\n)?\/\*\*/.test(text)).map(({ path }) => path),
    [],
  )
})

test('no import cycle is left at run time', () => {
  const next = new Map(
    files.map(({ path, imports }) => [
      path,
      imports.filter(({ typeOnly, target }) => !typeOnly && known.has(target)).map(({ target }) => target),
    ]),
  )
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, way: readonly string[]) => {
    if (way.includes(path)) {
      cycles.push([...way.slice(way.indexOf(path)), path].join(' → '))
      return
    }
    if (done.has(path)) return
    for (const target of next.get(path)!) visit(target, [...way, path])
    done.add(path)
  }
  for (const { path } of files) visit(path, [])
  assert.deepEqual(cycles, [])
})
