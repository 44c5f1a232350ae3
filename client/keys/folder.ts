/**
 * The key book on disk: `DIR/keys/NAME` holds a key's seed, `DIR/keys/NAME.PART` what belongs to it. Files have mode 0600 from their first
 * byte, are written whole or not at all, carry a checksum, and are never logged. A damaged key is refused, never replaced: a new one would
 * be another address under the old name.
 *
 *   NAME:      "gyre key 1\n" ‖ seed (64 hex) ‖ "\n" ‖ first 8 bytes of H("gyre/1 key file", seed) (16 hex) ‖ "\n"
 *   NAME.PART: "gyre key part 1\n" ‖ first 16 bytes of H("gyre/1 key part", name, part, bytes) ‖ bytes
 *
 * The name stands in a part's checksum, so that a part copied from another key is noticed: a sequence or a token used for two keys links them.
 */
import { chmod, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { concat, equalPublic, fromHex, toHex, utf8 } from '../../src/bytes/index.ts'
import { formatKeyAddress } from '../../src/content/address.ts'
import { blindFactor } from '../../src/content/record.ts'
import {
  type BlindedKey,
  blindSigningKey,
  equalSecret,
  SIGN_SEED_BYTES,
  signingKey,
  taggedHash,
  wipe,
} from '../../src/crypto/index.ts'
import { makeFolder, syncFolder, writeAtomically } from '../../src/directory/index.ts'
import { diskFailure } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import { isExposed } from '../data-dir.ts'
import { isKeyName, KEY_PART_BYTES_MAX, KEY_PARTS, KEYS_MAX, type KeyBook, type KeyEntry, type KeyPart } from './book.ts'

// Implementation constants.
const FOLDER = 'keys'
const FIRST_LINE = 'gyre key 1'
const CHECK_BYTES = 8
const PART_HEAD = utf8('gyre key part 1\n')
const PART_CHECK_BYTES = 16

interface HeldKey {
  readonly entry: KeyEntry
  readonly seed: Uint8Array
}

/** Opens the key book of a data folder, which must be held (`holdDataDir`). Errors: `DATA_DIR_UNUSABLE`. Damaged keys are left aside. */
export async function openKeyBook(dataDir: string, rng: Rng): Promise<KeyBook> {
  const dir = join(dataDir, FOLDER)
  const keys = new Map<string, HeldKey | null>()
  const names = await unusable(dir, async () => {
    await makeFolder(dir)
    return readdir(dir)
  })
  for (const name of names.filter(isKeyName).sort()) keys.set(name, await readKey(join(dir, name), name))
  return new KeyFolder(dir, rng, keys)
}

class KeyFolder implements KeyBook {
  readonly #dir: string
  readonly #rng: Rng
  /** `null`: its file is damaged. Never more than were found at opening, or `KEYS_MAX`. */
  readonly #keys: Map<string, HeldKey | null>
  /** The last write of all: writes go one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(dir: string, rng: Rng, keys: Map<string, HeldKey | null>) {
    this.#dir = dir
    this.#rng = rng
    this.#keys = keys
  }

  list(): readonly KeyEntry[] {
    return [...this.#keys.values()].flatMap((held) => (held === null ? [] : [held.entry]))
  }

  damaged(): readonly string[] {
    return [...this.#keys].flatMap(([name, held]) => (held === null ? [name] : []))
  }

  get(name: string): KeyEntry | null {
    return this.#find(name)?.entry ?? null
  }

  make(name: string): Promise<KeyEntry> {
    return this.#inOrder(async () => {
      const held = this.#find(name)
      if (held !== null) return held.entry
      if (this.#keys.size >= KEYS_MAX) throw bad(`The key book holds ${KEYS_MAX} keys; no more can be made.`)
      const seed = this.#rng.bytes(SIGN_SEED_BYTES)
      const text = `${FIRST_LINE}\n${toHex(seed)}\n${toHex(checkOf(seed))}\n`
      await unusable(this.#dir, () => writeAtomically(join(this.#dir, name), [text]))
      const made = keyOf(name, seed)
      this.#keys.set(name, made)
      return made.entry
    })
  }

  async blind(name: string, network: Uint8Array, period: number): Promise<BlindedKey> {
    const { entry, seed } = this.#require(name)
    return blindSigningKey(seed, blindFactor(entry.publicKey, network, period))
  }

  async readPart(name: string, part: KeyPart): Promise<Uint8Array | null> {
    this.#require(name)
    const path = this.#pathOf(name, part)
    const bytes = await unusable(path, () => readIfThere(path))
    if (bytes === null) return null
    if (!isKeyPartFile(name, part, bytes)) throw bad(`The file ${path} is damaged. Restore it from a backup.`)
    return bytes.slice(PART_HEAD.length + PART_CHECK_BYTES)
  }

  writePart(name: string, part: KeyPart, bytes: Uint8Array): Promise<void> {
    const content = bytes.slice()
    return this.#inOrder(async () => {
      this.#require(name)
      if (content.length > KEY_PART_BYTES_MAX) throw new RangeError('a part over its limit')
      const path = this.#pathOf(name, part)
      await unusable(path, () => writeAtomically(path, [PART_HEAD, partCheck(name, part, content), content]))
    })
  }

  removePart(name: string, part: KeyPart): Promise<void> {
    return this.#inOrder(async () => {
      this.#require(name)
      const path = this.#pathOf(name, part)
      await unusable(path, async () => {
        await rm(path, { force: true })
        await syncFolder(this.#dir)
      })
    })
  }

  #pathOf(name: string, part: KeyPart): string {
    if (!KEY_PARTS.includes(part)) throw new RangeError(`no part ${part}`)
    return join(this.#dir, `${name}.${part}`)
  }

  #find(name: string): HeldKey | null {
    if (!isKeyName(name)) throw bad('Not a name of a key: 1 to 32 lower case letters, digits and hyphens.')
    const held = this.#keys.get(name)
    if (held === null) throw bad(`The key file ${join(this.#dir, name)} is damaged. Restore it from a backup.`)
    return held ?? null
  }

  #require(name: string): HeldKey {
    const held = this.#find(name)
    if (held === null) throw bad(`There is no key named ${name}.`)
    return held
  }

  #inOrder<T>(write: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(write, write)
    this.#last = mine.catch(() => {}) // its own caller hears of it
    return mine
  }
}

async function readKey(path: string, name: string): Promise<HeldKey | null> {
  return unusable(path, async () => {
    const bytes = await readIfThere(path)
    const seed = bytes === null ? null : seedOf(Buffer.from(bytes).toString('latin1'))
    if (seed === null) return null
    if (await isExposed(path)) await chmod(path, 0o600) // a copy or a restore may have widened it
    return keyOf(name, seed)
  })
}

/** Whether `bytes` are a whole key file. */
export function isKeyFile(bytes: Uint8Array): boolean {
  const seed = seedOf(Buffer.from(bytes).toString('latin1'))
  if (seed !== null) wipe(seed)
  return seed !== null
}

/** Whether `bytes` are the whole file of that key's part. */
export function isKeyPartFile(name: string, part: KeyPart, bytes: Uint8Array): boolean {
  const content = bytes.subarray(PART_HEAD.length + PART_CHECK_BYTES)
  const right = concat(PART_HEAD, partCheck(name, part, content))
  return content.length <= KEY_PART_BYTES_MAX && equalPublic(bytes.subarray(0, right.length), right)
}

function keyOf(name: string, seed: Uint8Array): HeldKey {
  const { publicKey } = signingKey(seed)
  return { entry: { name, address: formatKeyAddress(publicKey), publicKey }, seed }
}

function seedOf(text: string): Uint8Array | null {
  const [first, seedHex = '', checkHex = '', end, ...more] = text.split('\n')
  const seed = fromHex(seedHex)
  const check = fromHex(checkHex)
  if (first !== FIRST_LINE || end !== '' || more.length > 0) return null
  return seed?.length === SIGN_SEED_BYTES && check !== null && equalSecret(check, checkOf(seed)) ? seed : null
}

function checkOf(seed: Uint8Array): Uint8Array {
  const hash = taggedHash('gyre/1 key file', seed)
  const check = hash.slice(0, CHECK_BYTES)
  wipe(hash)
  return check
}

function partCheck(name: string, part: KeyPart, content: Uint8Array): Uint8Array {
  return taggedHash('gyre/1 key part', utf8(name), utf8(part), content).subarray(0, PART_CHECK_BYTES)
}

function bad(message: string): OverlayError {
  return new OverlayError('config', 'KEY_BAD', message)
}

async function readIfThere(path: string): Promise<Uint8Array | null> {
  try {
    return new Uint8Array(await readFile(path))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'EISDIR') return null
    throw error
  }
}

/** Runs what touches the disk; what the system refuses as `DATA_DIR_UNUSABLE`. */
async function unusable<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw diskFailure(path, error)
  }
}
