/**
 * Who may do what on the API. The node's own token (`DIR/api.token`) may do everything; tokens for single programs are made here, each with a
 * scope, and kept as hashes in `DIR/api-tokens.json`: whoever reads that file cannot call the API with it. A request's token is compared with
 * all of them, in constant time, whether or not one fits.
 *
 *   read     what there is: status, fetch, traces, events, lists, metrics
 *   publish  read, and publishing files and sites
 *   admin    everything: services (they open a port of this machine), names (they decide what a link leads to), tokens
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, toHex, utf8 } from '../../src/bytes/index.ts'
import { equalSecret, sha256, taggedHash } from '../../src/crypto/index.ts'
import { writeAtomically } from '../../src/directory/index.ts'
import { whyDisk } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import { HttpFailure } from '../http/index.ts'

/** Each includes those before it. */
export const SCOPES = ['read', 'publish', 'admin'] as const
export type Scope = (typeof SCOPES)[number]

/** Tokens besides the node's own; one more is refused. */
export const TOKENS_MAX = 64
/** Name of the file within the data folder. */
export const TOKENS_FILE = 'api-tokens.json'

// Implementation constants.
const TOKEN_BYTES = 32
const FILE_BYTES_MAX = 64 * 1024
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/

/** A token that was made, without itself. */
export interface TokenEntry {
  readonly name: string
  readonly scope: Scope
  readonly addedMs: number
}

/** Who sends a request: `name` is '' for the node's own token. */
export interface Caller {
  readonly name: string
  readonly scope: Scope
}

interface Kept extends TokenEntry {
  /** 32 bytes. */
  readonly hash: Uint8Array
}

export interface TokenParts {
  /** The node's own. */
  readonly own: string
  /** `null`: tokens are kept in memory only. */
  readonly dataDir: string | null
  readonly clock: Pick<Clock, 'unixMs'>
  readonly rng: Pick<Rng, 'bytes'>
}

/** Whether `scope` is enough for what needs `needed`. */
export function covers(scope: Scope, needed: Scope): boolean {
  return SCOPES.indexOf(scope) >= SCOPES.indexOf(needed)
}

const OWN: Caller = Object.freeze({ name: '', scope: 'admin' })

export class ApiTokens {
  readonly #parts: TokenParts
  readonly #own: Uint8Array
  #kept: readonly Kept[]
  /** The change under way: one at a time, so that the file and memory agree. */
  #changing: Promise<unknown> = Promise.resolve()

  private constructor(parts: TokenParts, kept: readonly Kept[]) {
    this.#parts = parts
    this.#own = hashOf(parts.own)
    this.#kept = kept
  }

  /** The tokens of a node. Errors: `API_TOKEN_BAD` (the file is damaged: it is not replaced, for programs would be locked out in silence). */
  static async open(parts: TokenParts): Promise<ApiTokens> {
    return new ApiTokens(parts, parts.dataDir === null ? [] : await readTokens(join(parts.dataDir, TOKENS_FILE)))
  }

  /** Whose token an Authorization header carries, or `null`. */
  callerOf(authorization: string | undefined): Caller | null {
    const sent = hashOf(/^Bearer +([\x21-\x7e]{1,512})$/i.exec(authorization ?? '')?.[1] ?? '')
    let found: Caller | null = equalSecret(sent, this.#own) ? OWN : null
    for (const kept of this.#kept) if (equalSecret(sent, kept.hash)) found = kept
    return found
  }

  list(): readonly TokenEntry[] {
    return this.#kept.map(({ name, scope, addedMs }) => ({ name, scope, addedMs }))
  }

  /** Makes a token (43 base64url characters), told this once. Errors: `API_TOKEN_EXISTS` (409), `API_TOKEN_LIMIT`. */
  async add(name: string, scope: Scope): Promise<string> {
    return this.#change(async () => {
      if (this.#kept.some((kept) => kept.name === name)) {
        throw new HttpFailure(409, new OverlayError('config', 'API_TOKEN_EXISTS', 'There is a token of that name.'))
      }
      if (this.#kept.length >= TOKENS_MAX) {
        throw new HttpFailure(409, new OverlayError('overload', 'API_TOKEN_LIMIT', `There are ${TOKENS_MAX} tokens already.`))
      }
      const token = Buffer.from(this.#parts.rng.bytes(TOKEN_BYTES)).toString('base64url')
      await this.#keep([...this.#kept, { name, scope, addedMs: this.#parts.clock.unixMs(), hash: hashOf(token) }])
      return token
    })
  }

  /** Takes a token back, at once. `false`: there was none of that name. */
  async remove(name: string): Promise<boolean> {
    return this.#change(async () => {
      const left = this.#kept.filter((kept) => kept.name !== name)
      if (left.length === this.#kept.length) return false
      // Gone from memory first: what the disk does must not keep a token alive that its owner took back.
      this.#kept = left
      await this.#keep(left)
      return true
    })
  }

  #change<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#changing.then(work, work)
    this.#changing = done.catch(() => {})
    return done
  }

  async #keep(kept: readonly Kept[]): Promise<void> {
    const { dataDir } = this.#parts
    if (dataDir !== null) {
      const tokens = kept.map(({ name, scope, addedMs, hash }) => ({ name, scope, addedMs, hash: toHex(hash) }))
      await writeAtomically(join(dataDir, TOKENS_FILE), [`${JSON.stringify({ version: 1, tokens }, null, 2)}\n`])
    }
    this.#kept = kept
  }
}

/** Tokens are 32 random bytes: a plain hash is as good as a slow one. Hashing also makes all comparisons equally long. */
function hashOf(token: string): Uint8Array {
  return taggedHash('gyre/1 api token', sha256(utf8(token)))
}

async function readTokens(path: string): Promise<readonly Kept[]> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new OverlayError('config', 'API_TOKEN_BAD', `The token file ${path} cannot be read: ${whyDisk(error)}.`, error)
  }
  const kept = text.length <= FILE_BYTES_MAX ? tokensOf(text) : null
  if (kept === null) throw new OverlayError('config', 'API_TOKEN_BAD', `The token file ${path} is damaged.`)
  return kept
}

/** The tokens in the file's text, or `null` if it is damaged. */
function tokensOf(text: string): readonly Kept[] | null {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof parsed !== 'object' || parsed === null || !('version' in parsed) || parsed.version !== 1) return null
  if (!('tokens' in parsed) || !Array.isArray(parsed.tokens) || parsed.tokens.length > TOKENS_MAX) return null
  const kept = parsed.tokens.map(tokenOf)
  const whole = kept.every((one) => one !== null)
  return whole && new Set(kept.map(({ name }) => name)).size === kept.length ? kept : null
}

function tokenOf(entry: unknown): Kept | null {
  if (typeof entry !== 'object' || entry === null) return null
  const { name, scope, addedMs, hash } = entry as Readonly<Record<string, unknown>>
  const known = SCOPES.find((one) => one === scope)
  const bytes = typeof hash === 'string' ? fromHex(hash) : null
  if (typeof name !== 'string' || !NAME.test(name) || known === undefined || bytes?.length !== 32) return null
  return typeof addedMs === 'number' && Number.isSafeInteger(addedMs) ? { name, scope: known, addedMs, hash: bytes } : null
}
