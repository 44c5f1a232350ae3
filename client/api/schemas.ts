/**
 * What the API takes and answers, as JSON Schema: the requests are checked against these (`validation.ts`) and `/v1/openapi.json` shows them.
 * An object of ours has no other members than those named here; only a problem may grow new ones.
 */
import { CLOCKS, COVERS } from '../../src/config/index.ts'
import { ADDRESS_CHARS } from '../../src/content/address.ts'
import type { ErrorCode } from '../../src/errors/index.ts'

/** The part of JSON Schema 2020-12 that our schemas use. Lengths count code points. */
export interface Schema {
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
  readonly title?: string
  readonly description?: string
  readonly format?: string
  readonly examples?: readonly unknown[]
  /** The error code when this value is refused; default `API_BAD_REQUEST`. */
  readonly 'x-gyre-code'?: ErrorCode
  /** What this value takes, in words, for the error. */
  readonly 'x-gyre-takes'?: string
}

type TypeName = 'string' | 'integer' | 'number' | 'boolean' | 'object' | 'array' | 'null'

const CLOCK: Schema = { type: 'string', enum: CLOCKS }

const ADDRESS_PATTERN = `[a-z2-7]{${ADDRESS_CHARS}}`

/** An object with exactly these members, all of them there unless named in `optional`. */
export function object(properties: Readonly<Record<string, Schema>>, optional: readonly string[] = []): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name))
  return { type: 'object', properties, required, additionalProperties: false }
}

const COUNT: Schema = { type: 'integer', minimum: 0 }
const BYTES: Schema = { type: 'integer', minimum: 0, description: 'Bytes.' }
const TEXT: Schema = { type: 'string' }
const MS: Schema = { type: ['number', 'null'], description: 'Milliseconds.' }
const UNIX_MS: Schema = { type: 'integer', minimum: 0, description: 'Milliseconds since 1970.' }

export const ADDRESS: Schema = {
  type: 'string',
  pattern: `^${ADDRESS_PATTERN}$`,
  format: 'gyre-address',
  description: `${ADDRESS_CHARS} base32 characters with a checksum: a publication, a site or a service.`,
  'x-gyre-code': 'ADDRESS_BAD',
  'x-gyre-takes': `a Gyre address: ${ADDRESS_CHARS} characters, a to z and 2 to 7`,
}

/** A name of the book: up to four characters, or more that do not have hyphens in third and fourth place (see `isPetname`). */
const NAME_PATTERN = '[a-z0-9]([a-z0-9-]{0,2}[a-z0-9])?|[a-z0-9][a-z0-9-]([a-z0-9][a-z0-9-]|-[a-z0-9])[a-z0-9-]{0,50}[a-z0-9]'

/** A name of the book of names. */
export const NAME: Schema = {
  type: 'string',
  pattern: `^(${NAME_PATTERN})$`,
  description: 'A name in the book: 1 to 55 lower case letters, digits and hyphens.',
  'x-gyre-takes': '1 to 55 lower case letters, digits and hyphens, no hyphen first or last, not two in third and fourth place',
}

/** The name of a key, of a service (which is that of its key) or of a token. */
export const KEY_NAME: Schema = {
  type: 'string',
  pattern: '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$',
  description: 'A name: 1 to 32 lower case letters, digits and hyphens.',
  'x-gyre-takes': '1 to 32 lower case letters, digits and hyphens, no hyphen first or last',
}

/** What a fetch names: an address, or a name of the book. */
export const ADDRESS_OR_NAME: Schema = {
  type: 'string',
  pattern: `^(${ADDRESS_PATTERN}|${NAME_PATTERN})$`,
  format: 'gyre-address',
  description: 'An address, or a name in the book of names. An address always wins.',
  'x-gyre-code': 'ADDRESS_BAD',
  'x-gyre-takes': 'a Gyre address, or a name in the book',
}

export const PORT: Schema = { type: 'integer', minimum: 1, maximum: 65535 }

export const TARGET: Schema = {
  type: 'string',
  pattern: '^([0-9]{1,3}([.][0-9]{1,3}){3}|localhost|\\[[0-9A-Fa-f:.]{2,45}\\]):[0-9]{1,5}$',
  format: 'host-port',
  description: 'Where connections go: HOST:PORT, the host an IP address or localhost.',
  'x-gyre-takes': 'HOST:PORT such as 127.0.0.1:8080, the host an IP address or localhost',
  examples: ['127.0.0.1:8080'],
}

export const SCOPE: Schema = {
  type: 'string',
  enum: ['read', 'publish', 'admin'],
  description: 'Each includes those before it: read, publish, admin.',
}

/** A confirmation that a 409 answer of the share guard gave. */
export const CONFIRM: Schema = {
  type: 'string',
  pattern: '^[A-Za-z0-9_-]{16,64}$',
  format: 'confirmation',
  description: 'The confirmation that a 409 answer gave: publishes what it listed.',
  'x-gyre-takes': 'the confirmation that a 409 answer gave',
}

const STAGE = object({
  stage: TEXT,
  atMs: { type: 'number', minimum: 0 },
  tookMs: MS,
  note: { type: ['string', 'null'] },
  loop: { type: ['integer', 'null'] },
  failed: { type: 'boolean' },
})

const STATE: Schema = { type: 'string', enum: ['running', 'done', 'failed'] }
const CODE: Schema = { type: ['string', 'null'], description: 'Why it failed: a code of this API.' }

export const TRACE = object({
  id: TEXT,
  state: STATE,
  totalMs: MS,
  code: CODE,
  stages: { type: 'array', items: STAGE },
  dropped: COUNT,
  slowest: { type: ['string', 'null'] },
  failures: { type: 'array', items: STAGE },
})

export const TRANSFER = object({
  id: COUNT,
  state: STATE,
  bytes: BYTES,
  sharesAsked: COUNT,
  sharesReceived: COUNT,
  sharesBad: COUNT,
  firstByteMs: MS,
  totalMs: MS,
  code: CODE,
})

export const HEALTH = object({ ready: { type: 'boolean' } })

const PACED = object({
  cover: { type: 'string', enum: COVERS },
  holdMs: { ...COUNT, description: 'How long each member keeps a cell, in milliseconds.' },
  loops: COUNT,
  topRate: { ...COUNT, description: 'Cells a second of the fastest own loop.' },
  cellsPerSecond: { ...COUNT, description: 'Of all own loops together.' },
  bytesPerHour: { ...BYTES, description: "Own loops and control slots, each way, by the schedule; others' loops apart." },
  hiddenAmong: { ...COUNT, description: 'Nodes among which this one hides from who watches all wires.' },
  waiting: { ...COUNT, description: 'Requests that wait for room on the loops.' },
  waitSeconds: { type: 'number', minimum: 0, description: 'Seconds that the loops take for what waits, at least.' },
  noiseCells: { ...COUNT, description: 'Cells lost on own loops so far.' },
  swiftLoops: { ...COUNT, description: 'Own swift loops open now, for requests that asked for that clock.' },
})

export const STATUS = object(
  {
    id: TEXT,
    version: TEXT,
    network: TEXT,
    nodesKnown: COUNT,
    neighbours: COUNT,
    loopsReady: COUNT,
    clock: CLOCK,
    paced: PACED,
    sharesHeld: COUNT,
    storeBytes: BYTES,
    storeQuotaBytes: BYTES,
    cipher: TEXT,
    uptimeSeconds: COUNT,
    circuitsRelayed: { ...COUNT, description: "Circuits of others' loops through this node, to the next 16." },
    warnings: { type: 'array', items: TEXT },
  },
  ['circuitsRelayed', 'paced'],
)

export const PEERS = object({
  peers: {
    type: 'array',
    items: object({ id: TEXT, chosen: { type: 'boolean' }, transport: { type: 'string', enum: ['tls', 'ws', 'memory'] } }),
  },
})

export const LOOPS = object({
  loops: {
    type: 'array',
    items: object({
      id: COUNT,
      members: COUNT,
      clock: CLOCK,
      state: { type: 'string', enum: ['ready', 'busy'] },
    }),
  },
})

const SURVIVES: Schema = {
  type: 'integer',
  minimum: -1,
  description: 'So many nodes, whichever they are, may vanish at once, and it is still whole; -1: it is not whole.',
}

export const RECEIPT = object({
  survives: SURVIVES,
  of: { ...COUNT, description: 'Nodes that hold something of it.' },
  checked: { ...COUNT, description: 'Shares and root slots that were asked for: of large content a sample.' },
  parts: { ...COUNT, description: 'Shares and root slots that there should be.' },
  missing: { ...COUNT, description: 'Of those asked for, what nobody has.' },
  at: UNIX_MS,
})

export const PUBLICATION = object({
  address: ADDRESS,
  bytes: BYTES,
  shares: COUNT,
  holders: COUNT,
  receipt: { ...RECEIPT, description: 'What its holders proved at the end.' },
  kept: { type: 'boolean', description: 'Whether this node keeps it; what nobody keeps expires after 30 days.' },
})

export const KEEP = object({
  address: ADDRESS,
  kind: { type: 'string', enum: ['file', 'key'] },
  source: { type: 'string', enum: ['user', 'own'], description: 'Asked for, or published here.' },
  state: { type: 'string', enum: ['waiting', 'checking', 'whole', 'weak', 'lost', 'empty', 'failed'] },
  addedMs: UNIX_MS,
  checkedMs: { type: ['integer', 'null'], description: 'When the last check ended, in milliseconds since 1970.' },
  checked: { ...COUNT, description: 'Of the last check: shares and root slots asked for.' },
  missing: { ...COUNT, description: 'Of these, what nobody had.' },
  mended: { ...COUNT, description: 'Of these, what was put back or brought where it belongs.' },
  survives: { ...SURVIVES, type: ['integer', 'null'] },
  of: { type: ['integer', 'null'], description: 'Nodes that hold something of it.' },
  code: { type: ['string', 'null'], description: 'Why the last check failed: a code of this API.' },
})
export const KEEPS = object({ keeps: { type: 'array', items: KEEP } })

const VERSION: Schema = { type: 'integer', minimum: 1 }

export const SITE_PUBLICATION = object({
  address: ADDRESS,
  version: VERSION,
  bytes: BYTES,
  files: COUNT,
  uploaded: { ...BYTES, description: 'Bytes that had to be uploaded: what changed.' },
  snapshot: { ...ADDRESS, description: 'The address of this very version.' },
  receipt: { ...RECEIPT, description: 'What the holders of its index and of its new bytes proved at the end.' },
})

export const SITES = object({
  sites: {
    type: 'array',
    items: object({ key: TEXT, address: ADDRESS, version: VERSION, bytes: BYTES, files: COUNT, publishedMs: UNIX_MS }),
  },
})

const SERVICE_LOOPS: Schema = { type: 'integer', minimum: 1, maximum: 8 }
const LOOP_RATE: Schema = { type: 'integer', enum: [8, 32, 128, 512, 2048, 8192] }

export const SERVICE_WISH = object(
  {
    name: KEY_NAME,
    target: TARGET,
    port: { ...PORT, description: 'The virtual port; default 80.' },
    loops: { ...SERVICE_LOOPS, description: 'Under a paced clock: loops that stand for it; default 2.' },
    rate: { ...LOOP_RATE, description: 'Cells a second of each; default 128.' },
  },
  ['port', 'loops', 'rate'],
)

export const SERVICE_ADDRESS = object({ address: ADDRESS })

export const SERVICE = object(
  {
    name: TEXT,
    address: ADDRESS,
    ports: { type: 'array', items: object({ port: PORT, target: TEXT }) },
    state: { type: 'string', enum: ['starting', 'up', 'degraded'] },
    introductionPoints: COUNT,
    effort: COUNT,
    sessions: COUNT,
    carried: {
      ...object({ loops: COUNT, rate: COUNT, running: COUNT, sessionsMax: COUNT, cellsPerSecond: COUNT, bytesPerHour: BYTES }),
      description: 'The loops that stand for it under a paced clock, whatever is asked, and what they cost each way.',
    },
  },
  ['carried'],
)

export const SERVICES = object({ services: { type: 'array', items: SERVICE } })

/** Where a name came from: `user`, or the name of an imported book. */
const SOURCE: Schema = {
  type: 'string',
  minLength: 1,
  maxLength: 64,
  pattern: '^[^\\u0000-\\u001f\\u007f]*$',
  description: 'Where the name came from; default `user`. 1 to 64 characters without control characters.',
  'x-gyre-takes': '1 to 64 characters without control characters',
}
export const NAME_WISH = object({ address: ADDRESS, source: SOURCE }, ['source'])
export const NAME_ENTRY = object({ name: TEXT, address: ADDRESS, source: TEXT, addedMs: UNIX_MS })
export const NAMES = object({ names: { type: 'array', items: NAME_ENTRY } })

export const TOKEN_WISH = object({ name: KEY_NAME, scope: SCOPE })
export const NEW_TOKEN = object({
  name: KEY_NAME,
  scope: SCOPE,
  token: { type: 'string', description: 'Shown this once: the node keeps its hash alone.' },
})
export const TOKENS = object({
  tokens: { type: 'array', items: object({ name: KEY_NAME, scope: SCOPE, addedMs: UNIX_MS }) },
})

const PLACED = object({
  rule: TEXT,
  severity: { type: 'string', enum: ['note', 'flagged', 'refused'] },
  reason: TEXT,
  where: TEXT,
})

export const LISTING = object({
  files: {
    type: 'array',
    items: object({
      path: TEXT,
      bytes: BYTES,
      verdict: { type: 'string', enum: ['ok', 'flagged', 'refused'] },
      findings: { type: 'array', items: PLACED },
      allowed: { type: 'boolean' },
    }),
  },
  unlisted: COUNT,
  total: object({ files: COUNT, bytes: BYTES }),
  objections: COUNT,
})

/** RFC 9457. */
export const PROBLEM: Schema = {
  type: 'object',
  title: 'Problem',
  description: 'Why a request was refused or failed (RFC 9457).',
  properties: {
    type: { type: 'string', pattern: '^urn:gyre:error:[A-Z0-9_]+$' },
    title: TEXT,
    status: { type: 'integer', minimum: 400, maximum: 599 },
    detail: TEXT,
    code: { type: 'string', description: 'Stable; the README lists them.' },
    kind: TEXT,
    remedy: { type: 'string', description: 'What a person can do.' },
    field: { type: 'string', description: 'The part of the request that was refused.' },
    scope: { ...SCOPE, description: 'The scope that a token needs here.' },
    stages: { type: 'array', items: STAGE, description: 'The last stages of the work that failed.' },
    confirm: { type: 'string', description: 'Send the same again with ?confirm= and this to publish all the same.' },
    listing: LISTING,
  },
  required: ['type', 'title', 'status', 'detail', 'code', 'kind', 'remedy'],
  additionalProperties: true,
}
