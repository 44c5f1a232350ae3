/**
 * `gyre fetch ADDRESS`: the content on standard output, or in a file that appears whole or not at all. The length is checked against
 * what was announced; a fetch that breaks in the middle asks the node why, so that the exit code tells damage from a lost network.
 * Takes an address or a name of the node's book, with the path of a file of a site if there is one.
 */
import { randomUUID } from 'node:crypto'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { ADDRESS_CHARS } from '../../src/content/address.ts'
import { whyDisk } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import type { TransferReport } from '../api/transfers.ts'
import { isPetname } from '../names/rules.ts'
import { call, clockHeader, findNode, getJson, type NodeAt, type NodeChoice } from './api-client.ts'
import { namesOf } from './names.ts'
import { formatBytes, Progress, print, UsageError } from './output.ts'
import { traceOf, traceTable } from './trace.ts'

export interface FetchFlags extends NodeChoice {
  readonly output?: string | undefined
  readonly trace?: boolean | undefined
  /** The clock of this fetch, if it is not the node's. */
  readonly clock?: string | undefined
  readonly json?: boolean | undefined
}

type Write = (chunk: Buffer) => Promise<void>

const PROGRESS_MS = 200

/** A folder of a site answers with where its page is; more steps than this are none of a site's. */
const REDIRECTS_MAX = 3

/** Fetches `text`: an address or name, with a path or without, also as a link. Errors: `ADDRESS_BAD`, `NAME_UNKNOWN`, `FILE_FAILED`, those of the API. */
export async function fetchTo(text: string, flags: FetchFlags, signal: AbortSignal): Promise<void> {
  const wanted = parseWanted(text.trim())
  const target = flags.output === '-' ? undefined : flags.output
  if (flags.json === true && target === undefined)
    throw new UsageError('--json needs -o FILE: the content itself goes to standard output.')
  const node = findNode(flags, process.env)
  const began = systemClock.monotonicMs()
  const address = await addressOf(wanted, node, signal)
  let traceId: string | undefined
  const onHead = (headers: IncomingHttpHeaders) => {
    traceId = headers['gyre-trace'] === undefined ? traceId : String(headers['gyre-trace'])
  }
  try {
    const response = await answerTo(node, `/v1/fetch/${address}${wanted.path}`, clockHeader(flags), onHead, signal)
    const bytes =
      target === undefined ? await toStandardOutput(node, response, signal) : await toFile(target, node, response, signal)
    const ms = Math.round(systemClock.monotonicMs() - began)
    if (flags.json !== true) return
    const trace = flags.trace === true ? await traceOf(node, traceId, signal) : undefined
    const contentType = response.headers['content-type']
    await print(
      `${JSON.stringify({ address, bytes, contentType, file: target, ms, ...(trace === undefined ? {} : { trace }) })}\n`,
    )
  } finally {
    if (flags.trace === true && flags.json !== true && !signal.aborted) await showTrace(node, traceId, signal)
  }
}

interface Wanted {
  /** An address in lower case, or a name. */
  readonly host: string
  /** '' or a path with its slash, as a link has it. */
  readonly path: string
}

/** `ADDRESS`, `NAME`, either with `/path`, or a link `http://ADDRESS.gyre/path`. */
function parseWanted(text: string): Wanted {
  const parts = /^(?:http:\/\/)?([a-z0-9-]{1,56})(?:\.gyre)?(\/[^?#]*)?$/i.exec(text)
  const host = parts?.[1]?.toLowerCase() ?? ''
  if (!/^[a-z2-7]{56}$/.test(host) && !isPetname(host))
    throw new OverlayError(
      'protocol',
      'ADDRESS_BAD',
      `This is not a Gyre address${/[?#]/.test(text) ? ': a path has ? as %3F and # as %23' : ''}.`,
    )
  const path = parts?.[2] ?? ''
  // As it is sent: parts that are encoded stay so, the rest is.
  return { host, path: path === '/' ? '' : encodeURI(path).replaceAll(/%25([0-9a-f]{2})/gi, '%$1') }
}

/** The address of a name; an address is one by itself, whatever names there are. */
async function addressOf({ host }: Wanted, node: NodeAt, signal: AbortSignal): Promise<string> {
  if (host.length === ADDRESS_CHARS) return host
  const found = (await namesOf(node, signal)).find(({ name }) => name === host)
  if (found !== undefined) return found.address
  throw new OverlayError('protocol', 'ADDRESS_BAD', `"${host}" is not a Gyre address, nor a name in this node's book.`)
}

/** The answer with the content; goes where a site says that a folder's page is. */
async function answerTo(
  node: NodeAt,
  path: string,
  headers: Readonly<Record<string, string>>,
  onHead: (headers: IncomingHttpHeaders) => void,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  let at = path
  for (let step = 0; ; step++) {
    let location: string | undefined
    const heard = (headers: IncomingHttpHeaders) => {
      location = headers.location
      onHead(headers)
    }
    const response = await call(node, { path: at, headers, signal, onHead: heard, redirects: step < REDIRECTS_MAX })
    if (response.statusCode !== 301 && response.statusCode !== 308) return response
    response.resume()
    // Stays on this node's own API, whatever a site says.
    if (location === undefined || !location.startsWith('/v1/fetch/'))
      throw new OverlayError('unreachable', 'NODE_UNREACHABLE', 'The node answered with a way to nowhere.')
    at = location
  }
}

/** The stages of a fetch, on standard error. */
async function showTrace(node: NodeAt, id: string | undefined, signal: AbortSignal): Promise<void> {
  const trace = await traceOf(node, id, signal)
  process.stderr.write(trace === null ? 'gyre: the node kept no trace of this fetch.\n' : traceTable(trace))
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
  throw new OverlayError('bug', 'FILE_FAILED', `The file ${path} cannot be written: ${whyDisk(error)}.`, error)
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
