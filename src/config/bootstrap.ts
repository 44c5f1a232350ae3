/**
 * Turns the `file:PATH` entries of `bootstrap` into addresses. Such a file is another node's `listen.addrs`, on a shared volume or
 * host: it holds one multiaddr a line and may appear only after this node started. A file's lines are as trusted as the configuration
 * that names it; they are parsed as strictly.
 */
import { readFile } from 'node:fs/promises'
import { OverlayError } from '../errors/index.ts'
import type { Waiting } from '../runtime/index.ts'
import type { Config } from './schema.ts'
import { parseDialAddress, Refused } from './values.ts'

// Implementation constants.
const RETRY_MS = 200
/** How long a start waits for files that are not there yet. */
export const BOOTSTRAP_FILE_WAIT_MS = 60_000
const LINES_MAX = 64

/**
 * `config` with addresses only. Waits up to `BOOTSTRAP_FILE_WAIT_MS` for each file to hold at least one address.
 * Errors: `CONFIG_BAD` (a line is no address, or no file came), or the signal's reason.
 */
export async function resolveBootstrap(config: Config, { clock, signal }: Waiting): Promise<Config> {
  const addresses: string[] = []
  const end = clock.monotonicMs() + BOOTSTRAP_FILE_WAIT_MS
  for (const entry of config.bootstrap) {
    if (!entry.startsWith('file:')) {
      addresses.push(entry)
      continue
    }
    const path = entry.slice('file:'.length)
    for (;;) {
      signal.throwIfAborted()
      const found = await readAddresses(path)
      addresses.push(...found)
      if (found.length > 0) break
      if (clock.monotonicMs() >= end) {
        const waited = `${BOOTSTRAP_FILE_WAIT_MS / 1000} s`
        throw new OverlayError(
          'config',
          'CONFIG_BAD',
          `The bootstrap file ${path} held no address after ${waited}. Start the node that writes it.`,
        )
      }
      await clock.sleep(RETRY_MS, { signal })
    }
  }
  return Object.freeze({ ...config, bootstrap: Object.freeze([...new Set(addresses)]) })
}

async function readAddresses(path: string): Promise<readonly string[]> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new OverlayError('config', 'CONFIG_BAD', `The bootstrap file ${path} cannot be read.`, error)
  }
  // A last line without its end may still be in the writing.
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
  const wanted = lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))
  try {
    return wanted.slice(0, LINES_MAX).map(parseDialAddress)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    throw new OverlayError(
      'config',
      'CONFIG_BAD',
      `The bootstrap file ${path} has a line that is no address. It takes ${error.message}.`,
    )
  }
}
