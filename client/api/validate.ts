/**
 * Checks requests against the schemas that the routes declare and `/v1/openapi.json` shows: nothing is converted, filled in or left out, and
 * an error names the field. It knows the keywords that our schemas use and refuses a schema with any other when the route is added.
 *
 * Why not the validator that fastify brings: it costs each node 0.1 s at its start and 7 MiB (measured), for a few small requests. A test
 * holds the two against each other.
 */
import { type ErrorCode, OverlayError } from '../../src/errors/index.ts'
import { HttpFailure } from '../http/index.ts'

/** The part of JSON Schema 2020-12 that our schemas use. Lengths count code points. */
export interface Schema {
  readonly $ref?: string
  readonly type?: TypeName | readonly TypeName[]
  readonly enum?: readonly (string | number | null)[]
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean
  readonly items?: Schema
  readonly maxItems?: number
  readonly title?: string
  readonly description?: string
  readonly format?: string
  readonly examples?: readonly unknown[]
  readonly default?: unknown
  /** The error code when this value is refused; default `API_BAD_REQUEST`. */
  readonly 'x-gyre-code'?: ErrorCode
  /** What this value takes, in words, for the error. */
  readonly 'x-gyre-takes'?: string
}

export type TypeName = 'string' | 'integer' | 'number' | 'boolean' | 'object' | 'array' | 'null'

const KNOWN: ReadonlySet<string> = new Set([
  ...[
    'type',
    'enum',
    'pattern',
    'minLength',
    'maxLength',
    'minimum',
    'maximum',
    'properties',
    'required',
    'additionalProperties',
  ],
  ...['items', 'maxItems', 'title', 'description', 'format', 'examples', 'default', 'x-gyre-code', 'x-gyre-takes'],
])

/** A part of a request is refused. `field`: where, as `body.target` or `query.name`. */
export class BadField extends HttpFailure {
  readonly field: string
  constructor(field: string, message: string, code: ErrorCode = 'API_BAD_REQUEST') {
    super(400, new OverlayError('protocol', code, message))
    this.field = field
  }
}

/** Why a value is refused. */
interface Refusal {
  readonly at: string
  readonly why: string
  readonly code: ErrorCode | undefined
}

/** A function that says why a value does not fit `schema`, or `null`. Throws a plain `Error` (a bug) for a schema with unknown keywords. */
export function compile(schema: Schema): (value: unknown) => Refusal | null {
  check(schema)
  const patterns = new Map<string, RegExp>()
  return (value) => refusalOf(schema, value, '', patterns)
}

/** `compile` as fastify takes it. `part`: `body`, `params`, `querystring` or `headers`. */
export function validatorFor(schema: Schema, part: string): (value: unknown) => { value: unknown } | { error: Error } {
  const run = compile(schema)
  const shown = part === 'querystring' ? 'query' : part === 'params' ? 'path' : part
  return (value) => {
    const refusal = run(value)
    if (refusal === null) return { value }
    const field = `${shown}${refusal.at}`
    return { error: new BadField(field, `"${field}" ${refusal.why}.`, refusal.code) }
  }
}

function check(schema: Schema): void {
  for (const keyword of Object.keys(schema))
    if (!KNOWN.has(keyword)) throw new Error(`a schema has the unknown keyword ${keyword}`)
  for (const inner of Object.values(schema.properties ?? {})) check(inner)
  if (schema.items !== undefined) check(schema.items)
}

function refusalOf(schema: Schema, value: unknown, at: string, patterns: Map<string, RegExp>): Refusal | null {
  const why = wordsFor(schema, value, patterns)
  if (why !== null)
    return {
      at,
      why: schema['x-gyre-takes'] === undefined ? why : `takes ${schema['x-gyre-takes']}`,
      code: schema['x-gyre-code'],
    }
  if (Array.isArray(value)) return schema.items === undefined ? null : firstOf(value, schema.items, at, patterns)
  if (typeof value !== 'object' || value === null) return null
  const { properties = {}, required = [], additionalProperties = true } = schema
  for (const name of required) if (!Object.hasOwn(value, name)) return { at: `${at}.${name}`, why: 'is missing', code: undefined }
  for (const [name, inner] of Object.entries(value)) {
    const known = Object.hasOwn(properties, name) ? properties[name] : undefined
    if (known === undefined) {
      if (additionalProperties) continue
      const names = Object.keys(properties)
      const takes = names.length === 0 ? 'there are none here' : `known: ${names.join(', ')}`
      return { at: `${at}.${shownName(name)}`, why: `is not known; ${takes}`, code: undefined }
    }
    const refusal = refusalOf(known, inner, `${at}.${name}`, patterns)
    if (refusal !== null) return refusal
  }
  return null
}

function firstOf(values: readonly unknown[], items: Schema, at: string, patterns: Map<string, RegExp>): Refusal | null {
  for (const [index, value] of values.entries()) {
    const refusal = refusalOf(items, value, `${at}[${index}]`, patterns)
    if (refusal !== null) return refusal
  }
  return null
}

/** Why the value itself, its parts aside, does not fit. */
function wordsFor(schema: Schema, value: unknown, patterns: Map<string, RegExp>): string | null {
  if (schema.type !== undefined) {
    const types = typeof schema.type === 'string' ? [schema.type] : schema.type
    if (!types.some((type) => hasType(value, type))) return `takes ${types.map((type) => TYPE_WORDS[type]).join(' or ')}`
  }
  if (schema.enum?.some((one) => one === value) === false)
    return `takes one of ${schema.enum.map((one) => JSON.stringify(one)).join(', ')}`
  if (typeof value === 'string') return textRefusal(schema, value, patterns)
  if (typeof value === 'number') {
    const { minimum = Number.NEGATIVE_INFINITY, maximum = Number.POSITIVE_INFINITY } = schema
    if (value < minimum || value > maximum) return `takes ${minimum} to ${maximum}`
  }
  if (Array.isArray(value) && schema.maxItems !== undefined && value.length > schema.maxItems)
    return `takes at most ${schema.maxItems} entries`
  return null
}

function textRefusal({ minLength = 0, maxLength, pattern }: Schema, value: string, patterns: Map<string, RegExp>): string | null {
  // A text's code points are at most its length, and at least half of it.
  if (maxLength !== undefined && value.length > maxLength && [...value.slice(0, 2 * maxLength + 2)].length > maxLength)
    return `takes at most ${maxLength} characters`
  if (minLength > 0 && [...value.slice(0, 2 * minLength)].length < minLength) return `takes at least ${minLength} characters`
  if (pattern === undefined) return null
  let expression = patterns.get(pattern)
  if (expression === undefined) {
    expression = new RegExp(pattern, 'u')
    patterns.set(pattern, expression)
  }
  return expression.test(value) ? null : `takes what matches ${pattern}`
}

const TYPE_WORDS: Readonly<Record<TypeName, string>> = {
  string: 'a text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  object: 'an object',
  array: 'a list',
  null: 'null',
}

function hasType(value: unknown, type: TypeName): boolean {
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value)
  if (type === 'array') return Array.isArray(value)
  if (type === 'null') return value === null
  if (type === 'integer') return typeof value === 'number' && Number.isInteger(value)
  if (type === 'number') return typeof value === 'number' && Number.isFinite(value)
  return typeof value === type
}

/** A name from a request, fit to stand in an error. */
function shownName(name: string): string {
  return name.slice(0, 64).replaceAll(/[^\w.-]/g, '?')
}
