/**
 * The API held against its own document (`/v1/openapi.json`): for each operation what fits its schemas is accepted, what does not is a
 * 4xx problem that names the field, no answer is a 500, and every answer fits the schema that the document gives it. The words of refusals too.
 */
import assert from 'node:assert/strict'
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { fastify } from 'fastify'
import { type FaceServer, startApi } from '../../client/api/index.ts'
import { SCHEMA_OPTIONS } from '../../client/api/validation.ts'
import { formatFileAddress, formatKeyAddress } from '../../src/content/address.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { type AnySchema, fitting, type SchemaSource, unfitting } from '../support/schema-arbitraries.ts'

const token = 'f'.repeat(43)
const plenty = { perSecond: 1e6, burst: 1e6 }
const face = new FakeFace()
const agent = new Agent({ keepAlive: true, maxSockets: 4 })
let api: FaceServer
let operations: readonly Operation[] = []
let source: SchemaSource
let judge: (schema: object) => (value: unknown) => boolean

interface Parameter {
  readonly in: 'path' | 'query'
  readonly name: string
  readonly required?: boolean
  readonly schema: AnySchema
}

interface Operation {
  readonly path: string
  readonly method: string
  readonly operationId: string
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: AnySchema }>> }
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>>
  readonly 'x-scope': string
}

interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Omit<Operation, 'path' | 'method'>>>>>
  readonly components: { readonly schemas: Readonly<Record<string, AnySchema>> }
}

interface Sent {
  readonly method: string
  readonly target: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Default: the node's own. */
  readonly bearer?: string | null
}

interface Got {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** One request over a kept connection. An endless answer is read up to its head. */
function send({ method, target, headers = {}, body, bearer = token }: Sent): Promise<Got> {
  const { promise, resolve, reject } = Promise.withResolvers<Got>()
  const all = bearer === null ? headers : { Authorization: `Bearer ${bearer}`, ...headers }
  const request = httpRequest({ host: api.at.host, port: api.at.port, method, path: target, headers: all, agent }, (response) => {
    const got = { status: response.statusCode ?? 0, headers: response.headers }
    if (response.headers['content-type']?.startsWith('text/event-stream')) {
      resolve({ ...got, body: '' })
      return void response.destroy()
    }
    const chunks: Buffer[] = []
    response.on('data', (chunk: Buffer) => chunks.push(chunk))
    response.on('end', () => resolve({ ...got, body: Buffer.concat(chunks).toString() }))
    response.on('error', reject)
  })
  request.on('error', reject)
  request.end(body)
  return promise
}

before(async () => {
  const rates = { own: plenty, token: plenty, open: plenty, failed: plenty }
  api = await startApi({
    face,
    clock: systemClock,
    log: silentLog,
    at: { host: '127.0.0.1', port: 0 },
    token,
    rates,
    pac: () => '//',
  })
  const document = JSON.parse((await send({ method: 'GET', target: '/v1/openapi.json' })).body) as Document
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, path, method: method.toUpperCase() })),
  )
  const published = JSON.parse((await send({ method: 'POST', target: '/v1/publish', body: 'x' })).body) as { address: string }
  await face.names.put('known', published.address)
  const addresses = [published.address, formatFileAddress(new Uint8Array(32)), formatKeyAddress(new Uint8Array(32))]
  source = {
    resolve: (ref) => document.components.schemas[ref.split('/').at(-1) ?? ''] ?? assert.fail(ref),
    formats: {
      'gyre-address': fc.constantFrom(...addresses),
      'host-port': fc
        .tuple(fc.constantFrom('127.0.0.1', 'localhost', '[::1]', '10.1.2.3'), fc.integer({ min: 1, max: 65535 }))
        .map((at) => at.join(':')),
      'utf8-255': fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => !/\p{Cc}/u.test(text) && text.isWellFormed()),
      'site-path': fc.constantFrom('', 'index.html', 'a/b/c', 'ö', '%'),
      binary: fc.string({ maxLength: 200 }),
    },
  }
  judge = await judgeFor(document)
})
after(async () => {
  agent.destroy()
  await api.close()
})

/** Compiles schemas of the document with ajv, as fastify has it, without anything that converts or fills in. */
async function judgeFor(document: Document): Promise<typeof judge> {
  const customOptions = {
    coerceTypes: false,
    removeAdditional: false,
    useDefaults: false,
    strict: false,
    validateFormats: false,
  } as const
  const app = fastify({ ajv: { customOptions } })
  const made = Promise.withResolvers<typeof judge>()
  app.get('/', (request) => {
    made.resolve((schema) => {
      // References point into the document: it comes along.
      const run = request.compileValidationSchema({ ...schema, components: document.components })
      return (value) => run(value) === true
    })
    return {}
  })
  await app.inject('/')
  await app.close()
  return made.promise
}

const judged = new Map<object, (value: unknown) => boolean>()

/** Fails unless `got` is what the document says that `operation` answers. */
function assertDescribed(operation: Operation, got: Got, what: string): void {
  const { responses } = operation
  const described = responses[got.status] ?? responses[`${Math.floor(got.status / 100)}XX`]
  assert.ok(described !== undefined, `${what}: status ${got.status} is not described`)
  if (operation.method === 'HEAD') return assert.equal(got.body, '')
  const type = (got.headers['content-type'] ?? '').split(';')[0] ?? ''
  if (described.content === undefined) return assert.equal(got.body, '', what)
  const media = described.content[type] ?? described.content['*/*']
  assert.ok(media !== undefined, `${what}: media type ${type} is not described for ${got.status}`)
  // Content has whatever type its publisher gave it, and says what it likes.
  if (!/json$/.test(type) || described.content[type] === undefined) return
  const fits = judged.get(media.schema) ?? judge(media.schema)
  judged.set(media.schema, fits)
  assert.ok(fits(JSON.parse(got.body)), `${what}: ${got.status} ${got.body}`)
}

function assertProblem(got: Got, what: string): { readonly code: string; readonly field?: string } {
  assert.ok(got.status >= 400 && got.status < 500, `${what}: ${got.status} ${got.body}`)
  assert.equal(got.headers['content-type'], 'application/problem+json', what)
  const problem = JSON.parse(got.body) as { code: string; status: number; remedy: string; field?: string }
  assert.equal(problem.status, got.status, what)
  assert.ok(problem.remedy.length > 0, what)
  return problem
}

/** Path and query schema of an operation, as objects. */
function schemasOf({ parameters = [] }: Operation): { readonly path: AnySchema; readonly query: AnySchema } {
  const of = (where: string): AnySchema => {
    const those = parameters.filter((one) => one.in === where)
    const properties = Object.fromEntries(those.map(({ name, schema }) => [name, schema]))
    return {
      type: 'object',
      properties,
      required: those.filter((one) => one.required).map(({ name }) => name),
      additionalProperties: false,
    }
  }
  return { path: of('path'), query: of('query') }
}

interface Parts {
  readonly path: Record<string, unknown>
  readonly query: Record<string, unknown>
  readonly body?: unknown
}

function requestOf({ path, method }: Operation, parts: Parts): Sent {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(parts.path[name])))
  const query = new URLSearchParams(
    Object.entries(parts.query).map(([name, value]): [string, string] => [name, String(value)]),
  ).toString()
  const target = query === '' ? filled : `${filled}?${query}`
  if (parts.body === undefined) return { method, target }
  const body = typeof parts.body === 'string' ? parts.body : JSON.stringify(parts.body)
  return { method, target, body, headers: { 'Content-Type': 'application/json' } }
}

/** Everything that fits an operation. */
function requestsOf(operation: Operation): fc.Arbitrary<Parts> {
  const { path, query } = schemasOf(operation)
  const media = Object.values(operation.requestBody?.content ?? {})[0]
  const body = media === undefined ? fc.constant(undefined) : fitting(media.schema, source)
  const parts = fc.record({ path: fitting(path, source), query: fitting(query, source), body })
  return parts as fc.Arbitrary<Parts>
}

/** What an operation may say to a request that fits: nobody has it, it is there already, the tar is none, or the share guard objects. */
const EXPECTED: Readonly<Record<string, readonly number[]>> = {
  transfer: [404],
  trace: [404],
  fetch: [400, 404],
  fetchPath: [400, 404],
  publish: [409],
  publishSite: [400, 409],
  service: [404, 200],
  removeService: [404, 204],
  removeName: [404, 204],
  keepStatus: [404, 200],
  unkeep: [404, 204],
  receipt: [404, 200],
  addToken: [201, 409],
  removeToken: [404, 204],
}

test('the document is OpenAPI 3.1, has every route of the contract, and one id for each operation', () => {
  const known = operations.map(({ path, method }) => `${method} ${path}`)
  for (const wanted of [
    'POST /v1/publish',
    'GET /v1/fetch/{address}',
    'GET /v1/fetch/{address}/{path}',
    'POST /v1/sites',
    'GET /v1/sites',
    'POST /v1/services',
    'GET /v1/services/{name}',
    'DELETE /v1/services/{name}',
    'PUT /v1/names/{name}',
    'DELETE /v1/names/{name}',
    'GET /v1/names',
    'GET /v1/keeps',
    'GET /v1/keeps/{address}',
    'PUT /v1/keeps/{address}',
    'DELETE /v1/keeps/{address}',
    'GET /v1/receipts/{address}',
    'GET /v1/traces/{id}',
    'GET /v1/events',
    'GET /proxy.pac',
    'GET /metrics',
    'POST /v1/tokens',
    'GET /v1/status',
  ]) {
    assert.ok(known.includes(wanted), wanted)
  }
  assert.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length)
})

test('what fits is accepted, and every answer is as described', async () => {
  for (const operation of operations) {
    await fc.assert(
      fc.asyncProperty(requestsOf(operation), async (parts) => {
        const sent = requestOf(operation, parts)
        const what = `${sent.method} ${sent.target} ${sent.body ?? ''}`
        const got = await send(sent)
        assertDescribed(operation, got, what)
        const expected = EXPECTED[operation.operationId.replace(/Head$/, '')] ?? []
        assert.ok((got.status >= 200 && got.status < 300) || expected.includes(got.status), `${what}: ${got.status} ${got.body}`)
      }),
      { numRuns: 25 },
    )
  }
})

test('a path, query or body that does not fit is a problem that names the field', async () => {
  for (const operation of operations.filter(({ method }) => method !== 'HEAD')) {
    const { path, query } = schemasOf(operation)
    const right = requestsOf(operation)
    const media = operation.requestBody?.content['application/json']
    const lenient = operation.operationId.startsWith('fetch') // a query is of no concern there
    const wrong: fc.Arbitrary<Parts>[] = []
    const badPath = unfitting({ ...path, required: [], additionalProperties: true }, source, true)
    const badQuery = lenient ? null : unfitting(query, source, true)
    const badBody = media === undefined ? null : unfitting(media.schema, source, false)
    if (badPath !== null) wrong.push(fc.tuple(right, badPath).map(([parts, bad]) => ({ ...parts, path: bad })))
    if (badQuery !== null) wrong.push(fc.tuple(right, badQuery).map(([parts, bad]) => ({ ...parts, query: bad })))
    if (badBody !== null) {
      wrong.push(fc.tuple(right, badBody).map(([parts, bad]) => ({ ...parts, body: bad })))
      const noObject = fc.oneof(fc.constantFrom('', '{', 'null', '[]', '"x"', '1', '{"a":1}{', '\u0000'), fc.string())
      wrong.push(
        fc
          .tuple(
            right,
            noObject.filter((text) => !text.startsWith('{"')),
          )
          .map(([parts, body]) => ({ ...parts, body })),
      )
    }
    if (wrong.length === 0) continue
    await fc.assert(
      fc.asyncProperty(fc.oneof(...wrong), async (parts) => {
        const sent = requestOf(operation, parts)
        const what = `${sent.method} ${sent.target} ${sent.body ?? ''}`
        const got = await send(sent)
        assertDescribed(operation, got, what)
        const problem = assertProblem(got, what)
        if (problem.code === 'API_BAD_REQUEST' && problem.field !== undefined) assert.match(problem.field, /^(path|query|body)/)
      }),
      { numRuns: 60 },
    )
  }
})

test('no header makes a fault', async () => {
  const text = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 60 })
  const name = fc.constantFrom(
    ...[
      'Range',
      'If-Range',
      'If-Match',
      'If-None-Match',
      'If-Modified-Since',
      'Accept',
      'Accept-Encoding',
      'Content-Type',
      'Cookie',
    ],
    ...['Origin', 'Referer', 'Sec-Fetch-Site', 'Sec-Fetch-Dest', 'Last-Event-ID', 'X-Forwarded-For', 'Forwarded', 'Gyre-Clock'],
    ...[
      'Authorization',
      'Content-Encoding',
      'Accept-Version',
      'Upgrade-Insecure-Requests',
      'TE',
      'Via',
      'X-HTTP-Method-Override',
    ],
  )
  const value = fc.oneof(
    text,
    fc.constantFrom(
      'bytes=0-',
      'bytes=9-1',
      'bytes=-0',
      'gzip',
      'identity',
      '*',
      '"x"',
      'W/"x"',
      'null',
      'text/html',
      'application/json',
    ),
  )
  const headers = fc.dictionary(name, value, { maxKeys: 5 })
  for (const operation of operations) {
    await fc.assert(
      fc.asyncProperty(requestsOf(operation), headers, async (parts, more) => {
        const sent = requestOf(operation, parts)
        const got = await send({ ...sent, headers: { ...sent.headers, ...more } })
        assert.ok(got.status < 500, `${sent.method} ${sent.target} ${JSON.stringify(more)}: ${got.status} ${got.body}`)
        assertDescribed(operation, got, `${sent.target} ${JSON.stringify(more)}`)
      }),
      { numRuns: 15 },
    )
  }
})

test('without a token: 401; with one of too small a scope: 403 that names the scope; open routes ask for none', async () => {
  const made = new Map<string, string>()
  for (const scope of ['read', 'publish']) {
    const body = JSON.stringify({ name: `of-${scope}`, scope })
    made.set(scope, (JSON.parse((await send({ method: 'POST', target: '/v1/tokens', body })).body) as { token: string }).token)
  }
  const order = ['open', 'read', 'publish', 'admin']
  for (const operation of operations) {
    const [parts] = fc.sample(requestsOf(operation), { numRuns: 1, seed: 1 })
    const sent = requestOf(operation, parts!)
    const need = operation['x-scope']
    const nobody = await send({ ...sent, bearer: null })
    assert.equal(nobody.status === 401, need !== 'open', `${sent.method} ${sent.target}: ${nobody.status}`)
    for (const [scope, bearer] of made) {
      const got = await send({ ...sent, bearer })
      assert.equal(
        got.status === 403,
        order.indexOf(scope) < order.indexOf(need),
        `${scope}: ${sent.method} ${sent.target}: ${got.status}`,
      )
      if (got.status === 403 && operation.method !== 'HEAD') assert.equal((JSON.parse(got.body) as { scope: string }).scope, need)
    }
  }
})

test('a refusal names the field, says what it takes and has the code of that value', async () => {
  const json = (method: string, target: string, value: unknown): Sent => ({ method, target, body: JSON.stringify(value) })
  const name = '1 to 32 lower case letters, digits and hyphens, no hyphen first or last'
  const wish = { name: 'app', target: '127.0.0.1:80' }
  const odd = JSON.parse('{"name":"app","scope":"read","__proto__":1}') as object
  const refusals: readonly (readonly [Sent, string, string, string?])[] = [
    [json('POST', '/v1/services', null), 'body', 'takes an object'],
    [{ method: 'POST', target: '/v1/services' }, 'body', 'takes an object'],
    [json('POST', '/v1/services', { name: 'app' }), 'body.target', 'is missing'],
    [json('POST', '/v1/services', { ...wish, name: 1 }), 'body.name', `takes ${name}`],
    [json('POST', '/v1/services', { ...wish, port: '80' }), 'body.port', 'takes a whole number'],
    [json('POST', '/v1/services', { ...wish, port: null }), 'body.port', 'takes a whole number'],
    [json('POST', '/v1/services', { ...wish, port: 0 }), 'body.port', 'takes 1 to 65535'],
    [json('POST', '/v1/services', { ...wish, port: 65536 }), 'body.port', 'takes 1 to 65535'],
    [json('POST', '/v1/services', { ...wish, 'a b<': 1 }), 'body.a?b?', 'is not known; known: name, target, port, loops, rate'],
    [json('POST', '/v1/tokens', { name: 'app', scope: 'all' }), 'body.scope', 'takes one of "read", "publish", "admin"'],
    [json('POST', '/v1/tokens', { name: 'app', scope: ['read'] }), 'body.scope', 'takes a text'],
    [json('POST', '/v1/tokens', odd), 'body.__proto__', 'is not known; known: name, scope'],
    [
      json('PUT', '/v1/names/a', { address: 'a' }),
      'body.address',
      'takes a Gyre address: 56 characters, a to z and 2 to 7',
      'ADDRESS_BAD',
    ],
    [{ method: 'GET', target: '/v1/status?a=1' }, 'query.a', 'is not known; there are none here'],
    [{ method: 'POST', target: '/v1/sites?key=a&key=b' }, 'query.key', `takes ${name}`],
    [{ method: 'GET', target: '/v1/services/A' }, 'path.name', `takes ${name}`],
    [{ method: 'GET', target: `/v1/traces/${'x'.repeat(129)}` }, 'path.id', 'takes at most 128 characters'],
    [{ method: 'GET', target: '/v1/fetch/A' }, 'path.address', 'takes a Gyre address, or a name in the book', 'ADDRESS_BAD'],
  ]
  for (const [sent, field, why, code = 'API_BAD_REQUEST'] of refusals) {
    const got = await send(sent)
    const problem = JSON.parse(got.body) as Readonly<Record<string, unknown>>
    assert.deepEqual([got.status, problem.field, problem.detail, problem.code], [400, field, `"${field}" ${why}.`, code])
  }
})

test('a schema with a keyword or a format that nobody knows is refused when its route is added', async () => {
  const ready = async (schema: object) => {
    const app = fastify(SCHEMA_OPTIONS)
    app.get('/', { schema: { querystring: { type: 'object', properties: { a: schema } } } }, () => ({}))
    await app.ready()
    await app.close()
  }
  await ready({ type: 'string', format: 'gyre-address', 'x-gyre-takes': 'an address' })
  await assert.rejects(ready({ type: 'string', maxLenght: 3 }), /maxLenght/)
  await assert.rejects(ready({ type: 'string', format: 'gyre-adress' }), /gyre-adress/)
  await assert.rejects(ready({ maxLength: 3 }), /missing type/)
})
