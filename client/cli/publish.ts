/** `gyre publish FILE`: streams a file or standard input to the node and prints the address, alone, when the network has it. */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { ClientRequest } from 'node:http'
import { basename } from 'node:path'
import { pipeline, Transform } from 'node:stream'
import { OverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import type { Publication } from '../library.ts'
import { mediaTypeOf } from '../sites/media-types.ts'
import { call, findNode, type NodeChoice, parseJson, readText } from './api-client.ts'
import { formatBytes, Progress, print, UsageError } from './output.ts'

export interface PublishFlags extends NodeChoice {
  readonly name?: string | undefined
  readonly type?: string | undefined
  readonly json?: boolean | undefined
}

const PROGRESS_MS = 200

/** Publishes `path` (`-`: standard input). Errors: `FILE_FAILED`, those of the API. */
export async function publish(path: string, flags: PublishFlags, signal: AbortSignal): Promise<void> {
  const node = findNode(flags, process.env)
  const size = path === '-' ? null : await sizeOf(path)
  const name = flags.name ?? (path === '-' ? undefined : basename(path))
  const type = flags.type ?? (name === undefined ? 'application/octet-stream' : mediaTypeOf(name))
  if (/[^\x20-\x7e]/.test(type)) throw new UsageError('--type takes a media type such as text/plain.')
  const progress = new Progress()
  let readError: Error | null = null
  const send = (request: ClientRequest) => {
    const source =
      path === '-'
        ? process.stdin
        : createReadStream(path, { highWaterMark: 256 * 1024, end: size === null ? Infinity : size - 1 })
    source.once('error', (error: Error) => {
      readError = error
    })
    const counted = meter(size, progress)
    // An answer that comes early is a refusal: there is no use in sending more.
    request.once('response', (response) => {
      if (response.statusCode !== 201) source.destroy()
    })
    pipeline(source, counted, request, () => {})
  }
  try {
    const response = await call(node, {
      method: 'POST',
      path: `/v1/publish${name === undefined ? '' : `?name=${encodeURIComponent(name)}`}`,
      headers: { 'Content-Type': type, ...(size === null ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': size }) },
      signal,
      send: size === 0 ? (request) => request.end() : send,
    })
    const text = await readText(response, signal)
    progress.clear()
    const publication = parseJson(text) as Publication
    await print(flags.json === true ? `${JSON.stringify(publication)}\n` : `${publication.address}\n`)
    if (process.stderr.isTTY && flags.json !== true) {
      process.stderr.write(`${formatBytes(publication.bytes)} in ${publication.shares} shares on ${publication.holders} nodes\n`)
    }
  } catch (error) {
    progress.clear()
    if (readError !== null) throw new OverlayError('bug', 'FILE_FAILED', `Reading ${path} failed in the middle.`, readError)
    throw error
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    const found = await stat(path)
    if (found.isFile()) return found.size
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? 'unknown cause'
    throw new OverlayError('config', 'FILE_FAILED', `The file ${path} cannot be read (${why}).`, error)
  }
  throw new OverlayError('config', 'FILE_FAILED', `${path} is not a plain file. Use - and standard input for pipes.`)
}

/** Passes bytes on and shows how many of `size` went. */
function meter(size: number | null, progress: Progress): Transform {
  let sent = 0
  let shownAt = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sent += chunk.length
      const now = systemClock.monotonicMs()
      if (now - shownAt >= PROGRESS_MS) {
        shownAt = now
        const share = size === null ? '' : ` of ${formatBytes(size)} (${Math.floor((100 * sent) / size)} %)`
        progress.show(`publishing: ${formatBytes(sent)}${share}`)
      }
      done(null, chunk)
    },
  })
}
