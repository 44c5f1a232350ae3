/**
 * What fastify does with the schemas that the routes declare and `/v1/openapi.json` shows. Requests: its own validator (ajv) checks them;
 * nothing is converted, filled in or left out, the first thing wrong ends the check, and a schema with a keyword or format that nobody knows
 * is refused when its route is added. Here are the options for that, and what a refusal says: which field, and what it takes.
 */
import type { FastifySchemaValidationError, FastifyServerOptions } from 'fastify'
import { type ErrorCode, OverlayError } from '../../src/errors/index.ts'
import { HttpFailure } from '../http/index.ts'
import type { Schema } from './schemas.ts'

/** A part of a request is refused. `field`: where, as `body.target` or `query.name`. */
export class BadField extends HttpFailure {
  readonly field: string
  constructor(field: string, message: string, code: ErrorCode = 'API_BAD_REQUEST') {
    super(400, new OverlayError('protocol', code, message))
    this.field = field
  }
}

/** What ajv says of a value that does not fit. `parentSchema`: the schema that has the keyword (option `verbose`). */
interface Refusal extends FastifySchemaValidationError {
  readonly parentSchema: Schema
}

/** Options of `fastify()`. */
export const SCHEMA_OPTIONS = {
  ajv: {
    customOptions: {
      strict: true,
      allErrors: false,
      coerceTypes: false,
      removeAdditional: false,
      useDefaults: false,
      verbose: true,
      keywords: ['x-gyre-code', 'x-gyre-takes'],
      // For the document's readers: patterns and routes check what these say.
      formats: { 'gyre-address': true, 'host-port': true, 'utf8-255': true, 'site-path': true, confirmation: true },
    },
  },
  // Answers are sent as they are, and tests hold them against their schemas: fastify's own serializer puts members into another order and
  // leaves out those that it does not know.
  schemaController: { compilersFactory: { buildSerializer: () => () => JSON.stringify } },
  schemaErrorFormatter: (refusals, part) => badField(refusals[0] as Refusal, SHOWN_PARTS[part] ?? part),
} as const satisfies FastifyServerOptions

/** Parts of a request that fastify calls otherwise than we do. */
const SHOWN_PARTS: Readonly<Record<string, string>> = { querystring: 'query', params: 'path' }

/** `refusal` as the problem that the client gets. `part`: the part of the request that was checked. */
function badField(refusal: Refusal, part: string): BadField {
  const { keyword, instancePath, params, parentSchema } = refusal
  // A JSON pointer; its names are those of our schemas, which need no unescaping.
  const at = `${part}${instancePath.replaceAll('/', '.')}`
  if (keyword === 'required') return refused(`${at}.${params.missingProperty}`, 'is missing')
  if (keyword === 'additionalProperties') {
    const names = Object.keys(parentSchema.properties ?? {})
    const takes = names.length === 0 ? 'there are none here' : `known: ${names.join(', ')}`
    return refused(`${at}.${shownName(String(params.additionalProperty))}`, `is not known; ${takes}`)
  }
  return refused(at, wordsFor(refusal), parentSchema['x-gyre-code'])
}

function refused(field: string, why: string, code?: ErrorCode): BadField {
  return new BadField(field, `"${field}" ${why}.`, code)
}

/** Why the value itself, its members aside, does not fit. */
function wordsFor({ keyword, message = 'does not fit', parentSchema: schema }: Refusal): string {
  if (schema['x-gyre-takes'] !== undefined) return `takes ${schema['x-gyre-takes']}`
  switch (keyword) {
    case 'type':
      return `takes ${TYPE_WORDS[String(schema.type)] ?? schema.type}`
    case 'enum':
      return `takes one of ${(schema.enum ?? []).map((one) => JSON.stringify(one)).join(', ')}`
    case 'minimum':
    case 'maximum':
      return `takes ${schema.minimum} to ${schema.maximum}`
    case 'maxLength':
      return `takes at most ${schema.maxLength} characters`
    default:
      return message
  }
}

const TYPE_WORDS: Readonly<Record<string, string>> = { string: 'a text', integer: 'a whole number', object: 'an object' }

/** A name from a request, fit to stand in an error. */
function shownName(name: string): string {
  return name.slice(0, 64).replaceAll(/[^\w.-]/g, '?')
}
