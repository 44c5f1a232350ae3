/**
 * Reading the token of the API, for commands that call it. `client/identity.ts` makes it (`openApiToken`): who can read the user's files can
 * use the node; a web page, another user of the machine or a program in a sandbox cannot.
 */
import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { OverlayError } from '../../src/errors/index.ts'

/** Name of the file within the data folder. */
export const TOKEN_FILE = 'api.token'
/** 32 bytes in base64url. */
const TOKEN_TEXT = /^[A-Za-z0-9_-]{43}$/

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
