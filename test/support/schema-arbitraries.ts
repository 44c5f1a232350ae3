/** Values that fit a JSON Schema of ours, and values that do not, for property tests of what declares such schemas. */
import fc from 'fast-check'

export interface AnySchema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly pattern?: string
  readonly format?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly properties?: Readonly<Record<string, AnySchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean
  readonly items?: AnySchema
}

export interface SchemaSource {
  /** What a `$ref` names. */
  readonly resolve: (ref: string) => AnySchema
  /** Values for formats that a pattern alone does not say. */
  readonly formats: Readonly<Record<string, fc.Arbitrary<unknown>>>
}

/** Values that fit `schema`. */
export function fitting(schema: AnySchema, source: SchemaSource): fc.Arbitrary<unknown> {
  if (schema.$ref !== undefined) return fitting(source.resolve(schema.$ref), source)
  const ofFormat = schema.format === undefined ? undefined : source.formats[schema.format]
  if (ofFormat !== undefined) return ofFormat.filter((value) => typeof value !== 'string' || isFitting(schema, value))
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
  const type = typeof schema.type === 'string' ? schema.type : schema.type?.[0]
  switch (type) {
    case 'integer':
      return fc.integer({ min: schema.minimum ?? 0, max: schema.maximum ?? 2 ** 31 - 1 })
    case 'boolean':
      return fc.boolean()
    case 'object': {
      const properties = Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, fitting(inner, source)] as const)
      return fc.record(Object.fromEntries(properties), { requiredKeys: [...(schema.required ?? [])] })
    }
    default:
      return schema.pattern === undefined
        ? fc.string({ minLength: schema.minLength ?? 0, maxLength: Math.min(schema.maxLength ?? 40, 40) })
        : fc.stringMatching(new RegExp(schema.pattern, 'u')).filter((text) => isFitting(schema, text) && text.isWellFormed())
  }
}

function isFitting({ pattern, minLength = 0, maxLength = Number.MAX_SAFE_INTEGER }: AnySchema, text: string): boolean {
  const { length } = [...text]
  return length >= minLength && length <= maxLength && (pattern === undefined || new RegExp(pattern, 'u').test(text))
}

/** Texts of which most patterns refuse some. */
const UNUSUAL = [
  '\u0000',
  'a\u007f',
  '-',
  '_',
  'A',
  'a b',
  'é',
  '1',
  'a'.repeat(57),
  'a'.repeat(300),
  '.',
  '..',
  'x\r\ny',
  '::',
  'a:b',
]

/** Values of any kind that are no text that fits `schema`; texts only, if `texts`. For the leaves of objects. */
function unfittingLeaf(schema: AnySchema, source: SchemaSource, texts: boolean): fc.Arbitrary<unknown> | null {
  if (schema.$ref !== undefined) return unfittingLeaf(source.resolve(schema.$ref), source, texts)
  const pattern = schema.pattern === undefined ? null : new RegExp(schema.pattern, 'u')
  const bad: fc.Arbitrary<unknown>[] = []
  if (pattern !== null) {
    const known = UNUSUAL.filter((text) => !pattern.test(text))
    const unusual = known.length === 0 ? [] : [fc.constantFrom(...known)]
    const any = fc.string({ minLength: 1, maxLength: 80 }).map((text) => (pattern.test(text) ? (known[0] ?? null) : text))
    bad.push(...unusual, texts ? any.map((text) => text ?? '\u0000') : any)
  }
  if (schema.enum !== undefined) bad.push(fc.string().filter((text) => schema.enum?.includes(text) === false))
  if (!texts) bad.push(fc.constantFrom(null, true, {}, [], 0.5, -1, 1e20, Number.MAX_SAFE_INTEGER))
  if (!texts && schema.type === 'integer')
    bad.push(fc.integer({ min: -1000, max: 1000 }).map(String), fc.constant(String(schema.minimum)))
  return bad.length === 0 ? null : fc.oneof(...bad)
}

/** Objects that do not fit `schema`, an object's: a member that is missing, unknown or wrong. `texts`: members are texts, as in a query. */
export function unfitting(schema: AnySchema, source: SchemaSource, texts: boolean): fc.Arbitrary<Record<string, unknown>> | null {
  if (schema.$ref !== undefined) return unfitting(source.resolve(schema.$ref), source, texts)
  const right = fitting(schema, source) as fc.Arbitrary<Record<string, unknown>>
  const names = Object.keys(schema.properties ?? {})
  const ways: fc.Arbitrary<Record<string, unknown>>[] = []
  for (const name of schema.required ?? []) ways.push(right.map(({ [name]: _gone, ...rest }) => rest))
  if (schema.additionalProperties === false) {
    const unknown = fc.stringMatching(/^[a-zA-Z_][a-zA-Z0-9_-]{0,12}$/).filter((name) => !names.includes(name))
    ways.push(fc.tuple(right, unknown, fc.string()).map(([value, name, text]) => ({ ...value, [name]: text })))
  }
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    const leaf = unfittingLeaf(inner, source, texts)
    if (leaf !== null) ways.push(fc.tuple(right, leaf).map(([value, wrong]) => ({ ...value, [name]: wrong })))
  }
  return ways.length === 0 ? null : fc.oneof(...ways)
}
