/**
 * Sends what is published to the node: a body with its progress, once, or twice when the node's guard asks about what the user has already
 * allowed by name. What else it asks about is a refusal.
 */
import type { ClientRequest, OutgoingHttpHeaders } from 'node:http'
import { pipeline, type Readable, Transform } from 'node:stream'
import { OverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { GuardObjection, type ListedFile } from '../guard/listing.ts'
import { ConfirmationNeeded, call, type NodeAt, parseJson, readText } from './api-client.ts'
import { formatBytes, isObjection, Progress } from './output.ts'

export interface Upload {
  /** With its query, if it has one. */
  readonly path: string
  readonly headers: OutgoingHttpHeaders
  /** Length of the body, if it is known. */
  readonly bytes: number | null
  /** A new body, from its beginning; `null`: there is none. */
  readonly body: (() => Readable) | null
  /** Whether the user has allowed what the node objects to in this file. */
  readonly isAllowed: (file: ListedFile) => boolean
  /** What is being read, for messages. */
  readonly what: string
}

const PROGRESS_MS = 200

/** The node's answer. Errors: `FILE_FAILED`, `GuardObjection`, those of the API. */
export async function upload<T>(node: NodeAt, what: Upload, signal: AbortSignal): Promise<T> {
  try {
    return await sendOnce(node, what, signal)
  } catch (error) {
    if (!(error instanceof ConfirmationNeeded)) throw error
    const { listing, confirm } = error
    const objections = listing.files.filter(isObjection)
    const all = objections.length === listing.objections && objections.every(what.isAllowed)
    if (!all) throw new GuardObjection(listing, '')
    const path = `${what.path}${what.path.includes('?') ? '&' : '?'}confirm=${encodeURIComponent(confirm)}`
    return await sendOnce<T>(node, { ...what, path, isAllowed: () => false }, signal)
  }
}

async function sendOnce<T>(node: NodeAt, { path, headers, bytes, body, what }: Upload, signal: AbortSignal): Promise<T> {
  const progress = new Progress()
  let failed: Error | null = null
  const send = (request: ClientRequest) => {
    if (body === null) return void request.end()
    const source = body()
    source.once('error', (error: Error) => {
      failed = error
    })
    // An answer that comes early is a refusal: there is no use in sending more.
    request.once('response', (response) => {
      if (response.statusCode !== 201) source.destroy()
    })
    pipeline(source, meter(bytes, progress), request, () => {})
  }
  try {
    return parseJson(await readText(await call(node, { method: 'POST', path, headers, signal, send }), signal)) as T
  } catch (error) {
    if (failed === null || signal.aborted) throw error
    const cause: Error = failed
    throw cause instanceof OverlayError
      ? cause
      : new OverlayError('bug', 'FILE_FAILED', `Reading ${what} failed in the middle.`, cause)
  } finally {
    progress.clear()
  }
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
        const share =
          size === null || size === 0 ? '' : ` of ${formatBytes(size)} (${Math.min(100, Math.floor((100 * sent) / size))} %)`
        // What is sent may have a frame that is longer than what it holds.
        progress.show(`publishing: ${formatBytes(Math.min(sent, size ?? sent))}${share}`)
      }
      done(null, chunk)
    },
  })
}
