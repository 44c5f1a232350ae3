/**
 * The commands' way to a running node: its API, found through the data folder or named with --api, with the token from the folder.
 * Problems that the API answers with become the errors that they were, so that a command fails as the node would have.
 */
import { readFileSync } from 'node:fs'
import {
  type ClientRequest,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
} from 'node:http'
import { join } from 'node:path'
import { type ApiAt, type Config, formatApiAt, formatHostPort, loadConfig, parseApiAt } from '../../src/config/index.ts'
import { ERROR_CODES, type ErrorCode, type ErrorKind, OverlayError } from '../../src/errors/index.ts'
import { readToken } from '../api/token.ts'
import type { Listing } from '../guard/listing.ts'

/** Options that say which node a command means. */
export interface NodeChoice {
  readonly dataDir?: string | undefined
  /** `http://HOST:PORT`, `HOST:PORT` or `unix:PATH`. */
  readonly api?: string | undefined
  readonly config?: string | undefined
}

/** A node that a command can speak to. */
export interface NodeAt {
  readonly at: ApiAt
  readonly token: string
  readonly dataDir: string
}

/** Written by a running node: where its faces are. */
export const RUN_FILE = 'run.json'
/** More of an answer in JSON is not read. */
const JSON_BYTES_MAX = 8 * 1024 * 1024

/** The node that `choice`, environment and configuration mean. Errors: `CONFIG_BAD`, `API_TOKEN_BAD`, `NODE_UNREACHABLE` (no token yet). */
export function findNode(choice: NodeChoice, env: NodeJS.ProcessEnv): NodeAt {
  const named = choice.api ?? env.GYRE_API
  const api = named?.startsWith('unix:') ? named : named?.replace(/^http:\/\//i, '').replace(/\/$/, '')
  const { GYRE_API: _named, ...others } = env
  const config = loadConfig({ flags: present({ 'data-dir': choice.dataDir, config: choice.config, api }), env: others })
  const token = readToken(config.dataDir)
  if (token === null) {
    throw new OverlayError(
      'unreachable',
      'NODE_UNREACHABLE',
      `No node has run in the data folder ${config.dataDir}: it holds no token.`,
    )
  }
  return { at: dialled(api === undefined ? (runningApi(config) ?? config.api) : config.api), token, dataDir: config.dataDir }
}

/** Where to connect to reach what listens at `at`: a node that listens everywhere also listens on loopback. */
function dialled(at: ApiAt): ApiAt {
  if ('path' in at) return at
  const { host, port } = at
  if (host === '0.0.0.0' || host === 'localhost') return { host: '127.0.0.1', port }
  return { host: host === '::' ? '::1' : host, port }
}

/** `values` without the undefined ones. */
export function present(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

function runningApi({ dataDir }: Config): ApiAt | null {
  try {
    const run: unknown = JSON.parse(readFileSync(join(dataDir, RUN_FILE), 'utf8'))
    if (typeof run !== 'object' || run === null || !('api' in run) || typeof run.api !== 'string') return null
    return parseApiAt(run.api.replace(/^http:\/\//, ''))
  } catch {
    // Absent, or half written by a node that died: the configured address is as good.
    return null
  }
}

export interface Call {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE' | 'PUT' | 'DELETE'
  readonly path: string
  readonly headers?: OutgoingHttpHeaders
  readonly signal: AbortSignal
  /** Sends the body and ends the request; without it there is none. */
  readonly send?: (request: ClientRequest) => void
  /** Told the headers of the answer, also of one that is a problem. */
  readonly onHead?: (headers: IncomingHttpHeaders) => void
  /** Takes an answer that names another place as it is; else it is none that this node gives. */
  readonly redirects?: boolean
}

/** What asks the node for another clock than its own, for one request. */
export function clockHeader({ clock }: { readonly clock?: string | undefined }): Readonly<Record<string, string>> {
  return clock === undefined ? {} : { 'Gyre-Clock': clock }
}

/** The guard of the API objects: `confirm` lets out what `listing` shows. */
export class ConfirmationNeeded extends OverlayError {
  readonly listing: Listing
  readonly confirm: string
  constructor(message: string, listing: Listing, confirm: string) {
    super('config', 'API_CONFIRM', message)
    this.listing = listing
    this.confirm = confirm
  }
}

/** The answer, its head received and its status good. Errors: those of the API, `NODE_UNREACHABLE`, the signal's reason. */
export async function call(
  node: NodeAt,
  { method = 'GET', path, headers = {}, signal, send, onHead, redirects = false }: Call,
): Promise<IncomingMessage> {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const request = httpRequest({
    ...('path' in node.at ? { socketPath: node.at.path } : { host: node.at.host, port: node.at.port }),
    method,
    path,
    headers: { ...headers, Host: hostOf(node.at), Authorization: `Bearer ${node.token}` },
    agent: false,
    signal,
  })
  request.once('response', resolve)
  // Stays: an upload may break after its answer came, which then says why.
  request.on('error', (error) => reject(signal.aborted ? signal.reason : unreachable(node.at, error)))
  if (send === undefined) request.end()
  else send(request)
  const response = await promise
  onHead?.(response.headers)
  if (response.statusCode !== undefined && response.statusCode < (redirects ? 400 : 300)) return response
  throw problemOf(response.statusCode ?? 0, await readText(response, signal))
}

/** The JSON that `path` answers with. */
export async function getJson<T>(node: NodeAt, path: string, signal: AbortSignal): Promise<T> {
  return parseJson(await readText(await call(node, { path, signal }), signal)) as T
}

/** Sends `body` as JSON and reads what comes back; `null` for an answer without content. */
export async function sendJson<T>(
  node: NodeAt,
  what: Pick<Call, 'method' | 'path' | 'signal'> & { readonly body?: object },
): Promise<T> {
  const { body, ...rest } = what
  const bytes = body === undefined ? null : Buffer.from(JSON.stringify(body))
  const sending =
    bytes === null
      ? {}
      : {
          headers: { 'Content-Type': 'application/json', 'Content-Length': bytes.length },
          send: (request: ClientRequest) => void request.end(bytes),
        }
  const text = await readText(await call(node, { ...rest, ...sending }), rest.signal)
  return (text === '' ? null : parseJson(text)) as T
}

/** A whole answer as text, up to `JSON_BYTES_MAX`. */
export async function readText(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > JSON_BYTES_MAX) throw new OverlayError('bug', 'INTERNAL', 'The answer of the node is too long.')
      chunks.push(chunk)
    }
  } catch (error) {
    if (error instanceof OverlayError) throw error
    throw signal.aborted
      ? signal.reason
      : new OverlayError('unreachable', 'NODE_UNREACHABLE', 'The node broke off its answer.', error)
  }
  return Buffer.concat(chunks).toString('utf8')
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new OverlayError('unreachable', 'NODE_UNREACHABLE', 'What answers there is no Gyre node.', error)
  }
}

/** The Host header for a node: one that listens at a socket file is called localhost. */
function hostOf(at: ApiAt): string {
  return 'path' in at ? 'localhost' : formatHostPort(at)
}

function unreachable(at: ApiAt, error: NodeJS.ErrnoException): OverlayError {
  return new OverlayError(
    'unreachable',
    'NODE_UNREACHABLE',
    `No node answers at ${formatApiAt(at)} (${error.code ?? 'broken off'}).`,
    error,
  )
}

/** Whether a problem asks for a confirmation. The node is this user's own: the listing's inside is taken as it is. */
function isConfirmation(
  problem: unknown,
): problem is { readonly detail: string; readonly listing: Listing; readonly confirm: string } {
  if (typeof problem !== 'object' || problem === null || !('code' in problem) || problem.code !== 'API_CONFIRM') return false
  if (!('confirm' in problem) || typeof problem.confirm !== 'string') return false
  if (!('detail' in problem) || typeof problem.detail !== 'string') return false
  const listing = 'listing' in problem ? problem.listing : null
  return typeof listing === 'object' && listing !== null && 'files' in listing && Array.isArray(listing.files)
}

const KINDS: readonly ErrorKind[] = ['protocol', 'timeout', 'overload', 'unreachable', 'not-found', 'integrity', 'config', 'bug']

/** At which stage the work failed, from a problem's `stages`. */
function stageText(stages: unknown, detail: unknown): string {
  const last: unknown = Array.isArray(stages) ? stages.at(-1) : undefined
  if (typeof last !== 'object' || last === null || !('stage' in last)) return ''
  const note = 'note' in last && typeof last.note === 'string' && last.note !== detail ? `: ${last.note.replace(/\.$/, '')}` : ''
  return ` (Stage "${String(last.stage)}"${note})`
}

/** The error that a problem document tells of. */
function problemOf(status: number, text: string): OverlayError {
  const problem = parseJson(text)
  if (isConfirmation(problem)) return new ConfirmationNeeded(problem.detail, problem.listing, problem.confirm)
  if (typeof problem === 'object' && problem !== null && 'code' in problem && 'kind' in problem && 'detail' in problem) {
    const kind = KINDS.find((one) => one === problem.kind)
    const code = (Object.keys(ERROR_CODES) as ErrorCode[]).find((one) => one === problem.code)
    const stages = 'stages' in problem ? problem.stages : undefined
    if (kind !== undefined && code !== undefined)
      return new OverlayError(kind, code, `${String(problem.detail)}${stageText(stages, problem.detail)}`)
  }
  return new OverlayError(
    'unreachable',
    'NODE_UNREACHABLE',
    `What answers there is no Gyre node of this version (status ${status}).`,
  )
}
