/** One real node process over a data folder, with its API, for tests that kill it, stop it, or take its disk away. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { call, getJson, type NodeAt, parseJson, readText, sendJson } from '../../client/cli/api-client.ts'
import { NodeProcess } from '../../client/testnet/child.ts'
import { parseHostPort } from '../../src/config/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { MAIN } from './processes.ts'

export interface LoneNodeOptions {
  readonly dataDir: string
  readonly flags?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  /** Where code that was compiled once is kept, so that each start costs less. */
  readonly codeDir?: string
}

export class LoneNode {
  readonly child: NodeProcess
  readonly dataDir: string
  /** What it wrote to standard error. */
  readonly lines: string[] = []
  /** How it ended by itself, if it did. */
  death: string | null = null
  #at: NodeAt | null = null

  private constructor({ dataDir, flags = [], env = {}, codeDir }: LoneNodeOptions) {
    const { PATH, HOME, TMPDIR } = process.env
    this.dataDir = dataDir
    this.child = new NodeProcess({
      clock: systemClock,
      entry: MAIN,
      flags: [
        ...['--data-dir', dataDir, '--network', 'lone', '--listen', '/ip4/127.0.0.1/tcp/0', '--log-level', 'info'],
        ...['--api', '127.0.0.1:0', '--proxy', '127.0.0.1:0', '--socks', '127.0.0.1:0'],
        ...flags,
      ],
      env: { PATH, HOME, TMPDIR, ...(codeDir === undefined ? {} : { NODE_COMPILE_CACHE: codeDir }), ...env },
      onLine: (line) => this.lines.push(line),
      onDeath: (how) => {
        this.death = how
      },
    })
  }

  /** Starts a process without waiting for anything. */
  static spawn(options: LoneNodeOptions): LoneNode {
    return new LoneNode(options)
  }

  /** Starts a node that listens. */
  static async start(options: LoneNodeOptions): Promise<LoneNode> {
    const node = new LoneNode(options)
    await node.listening()
    return node
  }

  async listening(): Promise<void> {
    const { api } = await this.child.listening
    const token = readFileSync(join(this.dataDir, 'api.token'), 'utf8').trim()
    this.#at = { at: parseHostPort(api.slice('http://'.length)), token, dataDir: this.dataDir }
  }

  /** How its API is called, with its own token or another one. */
  at(token?: string): NodeAt {
    if (this.#at === null) throw new Error('the node does not listen yet')
    return token === undefined ? this.#at : { ...this.#at, token }
  }

  get<T>(path: string, signal: AbortSignal): Promise<T> {
    return getJson<T>(this.at(), path, signal)
  }

  send<T>(method: 'PUT' | 'POST' | 'DELETE', path: string, body: object | undefined, signal: AbortSignal): Promise<T> {
    return sendJson<T>(this.at(), { method, path, signal, ...(body === undefined ? {} : { body }) })
  }

  /** Publishes one file. */
  async publish(bytes: Uint8Array, signal: AbortSignal): Promise<{ readonly address: string }> {
    const answer = await call(this.at(), {
      method: 'POST',
      path: '/v1/publish',
      signal,
      send: (request) => void request.end(bytes),
    })
    return parseJson(await readText(answer, signal)) as { address: string }
  }
}
