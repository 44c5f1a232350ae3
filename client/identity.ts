/**
 * Who this node is, for as long as its data folder lives: the seed of its Ed25519 key, and the token by which its user's programs are
 * known. Both files have mode 0600 from their first byte, are written whole or not at all, and are never logged. A damaged identity is
 * refused, never replaced: a new one would quietly be another node.
 *
 *   identity:  "gyre identity 1\n" ‖ seed (64 hex) ‖ "\n" ‖ first 8 bytes of taggedHash("gyre/1 identity file", seed) (16 hex) ‖ "\n"
 *   api.token: 43 base64url characters (32 random bytes) ‖ "\n"
 */
import { chmod, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, type NodeId, nodeIdOf, toHex } from '../src/bytes/index.ts'
import { equalSecret, SIGN_SEED_BYTES, type SigningKey, signingKey, taggedHash, wipe } from '../src/crypto/index.ts'
import { writeAtomically } from '../src/directory/index.ts'
import { diskFailure } from '../src/errors/disk.ts'
import { OverlayError } from '../src/errors/index.ts'
import type { Rng } from '../src/runtime/index.ts'
import { isExposed } from './data-dir.ts'

export { type DataDirTools, type HeldDataDir, holdDataDir } from './data-dir.ts'

// Implementation constants.
const IDENTITY_FILE = 'identity'
const TOKEN_FILE = 'api.token'
const FIRST_LINE = 'gyre identity 1'
const CHECK_BYTES = 8
const TOKEN_BYTES = 32
const TOKEN_FORM = /^[A-Za-z0-9_-]{43}$/

export interface Identity {
  readonly id: NodeId
  readonly key: SigningKey
  /** 32 bytes, for the link layer's own key object. Secret; its owner is the identity. */
  readonly seed: Uint8Array
}

/** The identity in `dataDir`, made at the first start. Errors: `IDENTITY_DAMAGED`. The folder must be held (`holdDataDir`). */
export async function openIdentity(dataDir: string, rng: Rng): Promise<Identity> {
  const path = join(dataDir, IDENTITY_FILE)
  const text = await readIfThere(path)
  if (text !== null) {
    const seed = seedOf(text)
    if (seed === null) throw new OverlayError('config', 'IDENTITY_DAMAGED', `The identity file ${path} is damaged.`)
    await guard(path)
    return identityOf(seed)
  }
  const seed = rng.bytes(SIGN_SEED_BYTES)
  await writeAtomically(path, [`${FIRST_LINE}\n${toHex(seed)}\n${toHex(checkOf(seed))}\n`])
  return identityOf(seed)
}

/** The identity of a 32-byte seed. */
export function identityOf(seed: Uint8Array): Identity {
  const key = signingKey(seed)
  return { id: nodeIdOf(key.publicKey), key, seed }
}

/** Whether `bytes` are a whole identity file. */
export function isIdentityFile(bytes: Uint8Array): boolean {
  const seed = seedOf(Buffer.from(bytes).toString('latin1'))
  if (seed !== null) wipe(seed)
  return seed !== null
}

function seedOf(text: string): Uint8Array | null {
  const [first, seedHex = '', checkHex = '', end, ...more] = text.split('\n')
  const seed = fromHex(seedHex)
  const check = fromHex(checkHex)
  if (first !== FIRST_LINE || end !== '' || more.length > 0) return null
  if (seed?.length !== SIGN_SEED_BYTES || check === null || !equalSecret(check, checkOf(seed))) return null
  return seed
}

function checkOf(seed: Uint8Array): Uint8Array {
  const hash = taggedHash('gyre/1 identity file', seed)
  const check = hash.slice(0, CHECK_BYTES)
  wipe(hash)
  return check
}

/** The API's token, made at the first start. One that is no token (empty, cut) is replaced: nothing is lost but old scripts' access. */
export async function openApiToken(dataDir: string, rng: Rng): Promise<string> {
  const path = join(dataDir, TOKEN_FILE)
  const text = (await readIfThere(path))?.trim()
  if (text !== undefined && TOKEN_FORM.test(text)) {
    await guard(path)
    return text
  }
  const token = Buffer.from(rng.bytes(TOKEN_BYTES)).toString('base64url')
  await writeAtomically(path, [`${token}\n`])
  return token
}

/** Takes back a mode that lets others read: a copy or a restore may have widened it. */
async function guard(path: string): Promise<void> {
  if (await isExposed(path)) await chmod(path, 0o600)
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw diskFailure(path, error)
  }
}
