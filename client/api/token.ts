/**
 * The bearer token of the API: 32 random bytes in `DIR/api.token`, readable by the owner only. Who can read the user's files can use
 * the node; a web page, another user of the machine or a program in a sandbox cannot.
 */
import { chmodSync, lstatSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { toHex } from '../../src/bytes/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Rng } from '../../src/runtime/index.ts'

/** Name of the file within the data folder. */
export const TOKEN_FILE = 'api.token'
const TOKEN_BYTES = 32
const TOKEN_TEXT = /^[0-9a-f]{64}$/

/** The token of the node in `dataDir`, made (with the folder) if there is none. Errors: `API_TOKEN_BAD`. */
export function ensureToken(dataDir: string, rng: Rng): string {
  const path = join(dataDir, TOKEN_FILE)
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    const found = readToken(dataDir)
    if (found !== null) {
      // A copy or an unpacked archive may have left it open to others.
      if ((lstatSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600)
      return found
    }
    const token = toHex(rng.bytes(TOKEN_BYTES))
    const temporary = `${path}.${process.pid}.tmp`
    writeFileSync(temporary, `${token}\n`, { mode: 0o600, flag: 'wx' })
    renameSync(temporary, path)
    return token
  } catch (error) {
    if (error instanceof OverlayError) throw error
    throw new OverlayError('config', 'API_TOKEN_BAD', `The token file ${path} cannot be made or read.`, error)
  }
}

/** The token in `dataDir`, or `null` if there is none. Errors: `API_TOKEN_BAD`. */
export function readToken(dataDir: string): string | null {
  const path = join(dataDir, TOKEN_FILE)
  let text: string
  try {
    if (!lstatSync(path).isFile())
      throw new OverlayError('config', 'API_TOKEN_BAD', `The token file ${path} is not a plain file.`)
    text = readFileSync(path, 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    if (error instanceof OverlayError) throw error
    throw new OverlayError('config', 'API_TOKEN_BAD', `The token file ${path} cannot be read.`, error)
  }
  if (TOKEN_TEXT.test(text)) return text
  throw new OverlayError('config', 'API_TOKEN_BAD', `The token file ${path} does not hold a token.`)
}
