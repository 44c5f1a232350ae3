/**
 * Listening at a socket file: for this user alone (mode 0600 from the first moment), and never in the place of something that is not a dead
 * socket of our own. What a process that was killed left behind is removed; what is alive, or is no socket, is refused.
 */
import { chmodSync, lstatSync, rmSync, type Stats } from 'node:fs'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'

// Implementation constants.
/** `sun_path` holds 104 bytes on some systems, with its end. */
export const SOCKET_PATH_BYTES_MAX = 103
/** A socket that takes a connection within this is alive. */
const ALIVE_MS = 1_000

/** Listens at `path`. Errors: `PORT_TAKEN` (somebody listens there), `CONFIG_BAD` (another kind of file, somebody else's, no such folder). */
export async function listenAtPath(server: Server, path: string, flag: string, clock: Clock): Promise<void> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX)
    throw bad(path, flag, `its path is longer than ${SOCKET_PATH_BYTES_MAX} bytes`)
  await clearDead(path, flag, clock)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  // The mask is taken from the file that the call makes before it returns, so there is no moment at which others could connect.
  const mask = process.umask(0o077)
  try {
    server.listen({ path, exclusive: true }, resolve)
  } finally {
    process.umask(mask)
  }
  try {
    await promise
    chmodSync(path, 0o600)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') throw taken(path, flag, error)
    throw bad(path, flag, code ?? 'unknown cause', error)
  } finally {
    server.off('error', reject)
  }
}

/** Removes a socket file that nobody listens at. Errors: as `listenAtPath`. */
async function clearDead(path: string, flag: string, clock: Clock): Promise<void> {
  let found: Stats
  try {
    found = lstatSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw bad(path, flag, (error as NodeJS.ErrnoException).code ?? 'unknown cause', error)
  }
  if (!found.isSocket()) throw bad(path, flag, 'there is a file that is no socket')
  if (process.getuid !== undefined && found.uid !== process.getuid())
    throw bad(path, flag, 'the socket there is not of this user')
  if (await isAlive(path, clock)) throw taken(path, flag)
  rmSync(path, { force: true })
}

function isAlive(path: string, clock: Clock): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect(path)
  const timer = clock.setTimer(ALIVE_MS, () => resolve(true)) // it takes connections, if slowly
  socket.once('connect', () => resolve(true))
  socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'))
  return promise.finally(() => {
    timer.cancel()
    socket.destroy()
  })
}

function taken(path: string, flag: string, cause?: unknown): OverlayError {
  return new OverlayError('config', 'PORT_TAKEN', `Something listens at ${path} (--${flag}) already.`, cause)
}

function bad(path: string, flag: string, why: string, cause?: unknown): OverlayError {
  return new OverlayError('config', 'CONFIG_BAD', `Cannot listen at ${path} (--${flag}): ${why}.`, cause)
}
