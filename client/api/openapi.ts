/**
 * The OpenAPI 3.1 document of the API, made from the schemas that the routes are checked against. It is made when it is first asked for, by a
 * second set of the same routes that never listens: a node whose document nobody reads carries none of it.
 */
import { type FastifyInstance, fastify } from 'fastify'
import { VERSION } from '../version.ts'
import type { Need } from './access.ts'
import { ADDRESS, LISTING, PROBLEM, type Schema } from './schemas.ts'
import { SCHEMA_OPTIONS } from './validation.ts'

/** A media type and what an answer of it holds. */
export interface Media {
  readonly description: string
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>
  readonly headers?: Readonly<Record<string, Schema>>
  /** No content. */
  readonly type?: 'null'
}

/** An answer without content. */
export function nothing(description: string): Media {
  return { description, type: 'null' }
}

/** An answer of JSON. */
export function json(description: string, schema: Schema): Media {
  return { description, content: { 'application/json': { schema } } }
}

/** An answer of another media type. */
export function text(description: string, contentType: string): Media {
  return { description, content: { [contentType]: { schema: { type: 'string' } } } }
}

const PROBLEMS: Media = {
  description: 'A problem (RFC 9457).',
  content: { 'application/problem+json': { schema: PROBLEM } },
}

/** What a route needs and what its operation is called; the rest of its schema stands at the route. */
export interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly description?: string
  readonly params?: Schema
  readonly querystring?: Schema
  readonly body?: Schema
  /** Media types of a raw body. */
  readonly consumes?: readonly string[]
  readonly answers: Readonly<Record<number, Media>>
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a request to this route needs; nothing said: `admin`. */
    need?: Need
    /** The body of a raw route, for the document alone. */
    rawBody?: readonly string[]
  }
}

const NO_QUERY: Schema = { type: 'object', properties: {}, additionalProperties: false }

/** Route options for an operation: schema and scope. Without `querystring` there is no query. */
export function described(need: Need, { answers, consumes, ...schema }: Operation) {
  const response: Record<string, Media> = { ...answers, '4xx': PROBLEMS, '5xx': PROBLEMS }
  const security = need === 'open' ? [] : [{ bearer: [] }]
  return {
    schema: { querystring: NO_QUERY, ...schema, response, security, 'x-scope': need },
    config: consumes === undefined ? { need } : { need, rawBody: consumes },
  }
}

/** The document as text, of what `add` adds to an app. */
export async function openApiOf(add: (app: FastifyInstance) => void): Promise<string> {
  const { default: swagger } = await import('@fastify/swagger')
  const app = fastify({ logger: false, exposeHeadRoutes: false, ...SCHEMA_OPTIONS })
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Gyre',
        version: VERSION,
        description: 'The API of a Gyre node, for the programs of its own user.',
      },
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'DIR/api.token, or a token of POST /v1/tokens.' },
        },
      },
      security: [{ bearer: [] }],
    },
    convertConstToEnum: false,
    transform: ({ schema, url, route }) => ({
      // A site's path is the rest of the request's path; OpenAPI has no name for that.
      url: url.replace('*', ':path'),
      schema: named(withRawBody(schema ?? {}, route.config?.rawBody)),
    }),
  })
  app.register(async (inner) => add(inner))
  await app.ready()
  const document = shared(unique(app.swagger()), { Address: ADDRESS, Listing: LISTING, Problem: PROBLEM })
  await app.close()
  return `${JSON.stringify(document)}\n`
}

/** `schema` with the rest of a path under the name that the document gives it. */
function named<S extends { readonly params?: unknown }>(schema: S): S {
  return schema.params === undefined
    ? schema
    : { ...schema, params: JSON.parse(JSON.stringify(schema.params).replaceAll('"*"', '"path"')) }
}

/** `document` with an operation id of its own for each HEAD beside a GET. */
function unique<D extends { readonly paths?: object }>(document: D): D {
  for (const operations of Object.values(document.paths ?? {}) as { head?: { readonly operationId?: string } }[]) {
    const { head } = operations
    if (head?.operationId !== undefined) operations.head = { ...head, operationId: `${head.operationId}Head` }
  }
  return document
}

/** A raw body as the document shows it. */
function withRawBody<S extends object>(schema: S, types: readonly string[] | undefined): S {
  if (types === undefined) return schema
  const content = Object.fromEntries(types.map((type) => [type, { schema: { type: 'string', format: 'binary' } }]))
  return { ...schema, body: { content } }
}

/** `document` with each of `parts` said once, under components, and named wherever it stood. */
function shared(document: object, parts: Readonly<Record<string, Schema>>): object {
  const names = new Map(Object.entries(parts).map(([name, schema]) => [JSON.stringify(schema), name]))
  const walk = (value: unknown, within: string): unknown => {
    if (Array.isArray(value)) return value.map((one) => walk(one, ''))
    if (typeof value !== 'object' || value === null) return value
    const name = names.get(JSON.stringify(value))
    if (name !== undefined && name !== within) return { $ref: `#/components/schemas/${name}` }
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, walk(inner, '')]))
  }
  const schemas = Object.fromEntries(Object.entries(parts).map(([name, schema]) => [name, walk(schema, name)]))
  const named = walk(document, '') as { components?: object }
  return { ...named, components: { ...named.components, schemas } }
}
