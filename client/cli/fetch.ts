/**
 * `gyre fetch ADDRESS`: the content on standard output, or in a file that appears whole or not at all. The length is checked against
 * what was announced; a fetch that breaks in the middle asks the node why, so that the exit code tells damage from a lost network.
 */
import { randomUUID } from 'node:crypto'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { OverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import type { TransferReport } from '../api/transfers.ts'
import { call, findNode, getJson, type NodeAt, type NodeChoice } from './api-client.ts'
import { formatBytes, Progress, print, UsageError } from './output.ts'

export interface FetchFlags extends NodeChoice {
  readonly output?: string | undefined
  readonly json?: boolean | undefined
}

type Write = (chunk: Buffer) => Promise<void>

const PROGRESS_MS = 200

/** Fetches `text`: an address, or an `http://ADDRESS.gyre/` link. Errors: `ADDRESS_BAD`, `FILE_FAILED`, those of the API. */
export async function fetchTo(text: string, flags: FetchFlags, signal: AbortSignal): Promise<void> {
  const address = /^(?:http:\/\/)?([a-z2-7]{56})(?:\.gyre\/?)?$/i.exec(text.trim())?.[1]?.toLowerCase()
  if (address === undefined) throw new OverlayError('protocol', 'ADDRESS_BAD', 'This is not a Gyre address.')
  const target = flags.output === '-' ? undefined : flags.output
  if (flags.json === true && target === undefined)
    throw new UsageError('--json needs -o FILE: the content itself goes to standard output.')
  const node = findNode(flags, process.env)
  const began = systemClock.monotonicMs()
  const response = await call(node, { path: `/v1/fetch/${address}`, signal })
  const bytes =
    target === undefined ? await toStandardOutput(node, response, signal) : await toFile(target, node, response, signal)
  const ms = Math.round(systemClock.monotonicMs() - began)
  if (flags.json !== true) return
  await print(`${JSON.stringify({ address, bytes, contentType: response.headers['content-type'], file: target, ms })}\n`)
}

async function toStandardOutput(node: NodeAt, response: IncomingMessage, signal: AbortSignal): Promise<number> {
  return receive(node, response, signal, async (chunk) => {
    if (process.stdout.write(chunk)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    process.stdout.once('drain', resolve)
    await promise
  })
}

async function toFile(target: string, node: NodeAt, response: IncomingMessage, signal: AbortSignal): Promise<number> {
  const temporary = `${target}.${randomUUID()}.part`
  let file: FileHandle | null = null
  try {
    if ((await stat(target).catch(() => null))?.isDirectory()) throw new UsageError(`${target} is a folder; -o takes a file.`)
    const opened = await open(temporary, 'wx').catch((error) => fileFailed(target, error))
    file = opened
    const bytes = await receive(node, response, signal, async (chunk) => {
      await opened.writeFile(chunk).catch((error) => fileFailed(target, error))
    })
    await opened.sync()
    await opened.close()
    file = null
    await rename(temporary, target).catch((error) => fileFailed(target, error))
    return bytes
  } catch (error) {
    response.destroy()
    await file?.close().catch(() => {})
    await rm(temporary, { force: true })
    throw error
  }
}

function fileFailed(path: string, error: NodeJS.ErrnoException): never {
  throw new OverlayError('bug', 'FILE_FAILED', `The file ${path} cannot be written (${error.code ?? 'unknown cause'}).`, error)
}

/** Hands every chunk to `write` and returns their length, which is the announced one. */
async function receive(node: NodeAt, response: IncomingMessage, signal: AbortSignal, write: Write): Promise<number> {
  const announced = Number(response.headers['content-length'])
  const progress = new Progress()
  let received = 0
  let shownAt = systemClock.monotonicMs()
  try {
    const source = (response as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
    for (;;) {
      const next = await source.next().catch(() => null)
      if (next === null || next.done === true) break
      await write(next.value)
      received += next.value.length
      const now = systemClock.monotonicMs()
      if (now - shownAt >= PROGRESS_MS) {
        shownAt = now
        progress.show(`fetching: ${formatBytes(received)} of ${formatBytes(announced)}`)
      }
    }
  } finally {
    progress.clear()
  }
  signal.throwIfAborted()
  if (received !== announced || !response.complete) throw await whyBroken(node, response, signal, received, announced)
  return received
}

/** The error behind an answer that broke off, as the node knows it. */
async function whyBroken(
  node: NodeAt,
  response: IncomingMessage,
  signal: AbortSignal,
  received: number,
  announced: number,
): Promise<OverlayError> {
  const what = `The fetch broke off after ${formatBytes(received)} of ${formatBytes(announced)}. No file was left.`
  const id = response.headers['gyre-transfer']
  const report = await getJson<TransferReport>(node, `/v1/transfers/${String(id)}`, signal).catch(() => null)
  if (report?.code === 'CONTENT_DAMAGED') return new OverlayError('integrity', 'CONTENT_DAMAGED', what)
  if (report?.code === 'CONTENT_NOT_FOUND') return new OverlayError('not-found', 'CONTENT_NOT_FOUND', what)
  return new OverlayError('unreachable', report?.code ?? 'NODE_UNREACHABLE', what)
}
