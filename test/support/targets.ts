/**
 * What live services of tests forward to, each on a loopback port of its own: an HTTP server with pages, echo and cookies, git's own HTTP
 * back end, an SSH server and an rsync daemon. Each is closed by the test that started it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { WebSocketServer } from 'ws'
import { client } from './clients.ts'
import { eventually, run } from './processes.ts'

export interface Target {
  readonly port: number
  close(): Promise<void>
}

/** An HTTP server on a free loopback port. */
export async function httpTarget(answer: RequestListener, webSocketEcho = false): Promise<Target> {
  const server = createServer(answer)
  const sockets = webSocketEcho ? new WebSocketServer({ server }) : null
  sockets?.on('connection', (socket) => socket.on('message', (bytes, binary) => socket.send(bytes, { binary })))
  const port = await listening(server)
  return {
    port,
    close: async () => {
      sockets?.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** A loopback port that is free now. */
export async function freePort(): Promise<number> {
  const server = createTcpServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** git's smart HTTP (git-http-backend as CGI) over the repositories in `root`, pushes allowed. */
export function gitTarget(root: string): Promise<Target> {
  return httpTarget((request, response) => void gitBackend(root, request, response))
}

function gitBackend(root: string, request: IncomingMessage, response: ServerResponse): void {
  const [path = '/', query = ''] = (request.url ?? '/').split('?')
  const { PATH } = process.env
  const child = spawn(client('git-http-backend'), [], {
    env: {
      PATH,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_CONFIG_COUNT: '2',
      GIT_CONFIG_KEY_0: 'http.receivepack',
      GIT_CONFIG_VALUE_0: 'true',
      GIT_CONFIG_KEY_1: 'safe.directory',
      GIT_CONFIG_VALUE_1: '*',
      PATH_INFO: path,
      QUERY_STRING: query,
      REQUEST_METHOD: request.method ?? 'GET',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      HTTP_GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      ...(request.headers['content-length'] === undefined ? {} : { CONTENT_LENGTH: request.headers['content-length'] }),
      REMOTE_USER: 'test',
      REMOTE_ADDR: '127.0.0.1',
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.on('error', () => {})
  request.pipe(child.stdin)
  let head = Buffer.alloc(0)
  const onHead = (chunk: Buffer) => {
    head = Buffer.concat([head, chunk])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) return
    child.stdout.off('data', onHead)
    for (const line of head.subarray(0, end).toString('latin1').split('\r\n')) {
      const at = line.indexOf(':')
      const value = line.slice(at + 1).trim()
      if (line.slice(0, at).toLowerCase() === 'status') response.statusCode = Number(value.split(' ')[0])
      else response.setHeader(line.slice(0, at), value)
    }
    response.write(head.subarray(end + 4))
    child.stdout.pipe(response)
  }
  child.stdout.on('data', onHead)
  child.on('error', () => response.destroy())
}

/** An SSH server (sshd, in the foreground, on loopback) that lets the key in `folder`/id in as the user who runs the test. */
export async function sshTarget(folder: string): Promise<Target & { readonly identity: string; readonly knownHosts: string }> {
  const identity = join(folder, 'id')
  const host = join(folder, 'host')
  for (const key of [identity, host]) await run(client('ssh-keygen'), ['-q', '-t', 'ed25519', '-N', '', '-f', key])
  const port = await freePort()
  const authorised = join(folder, 'authorized_keys')
  writeFileSync(authorised, await readText(`${identity}.pub`))
  chmodSync(authorised, 0o600)
  const lines = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${host}`,
    `AuthorizedKeysFile ${authorised}`,
    `PidFile ${join(folder, 'sshd.pid')}`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'PermitRootLogin prohibit-password',
    'Subsystem sftp internal-sftp',
  ]
  const config = join(folder, 'sshd_config')
  writeFileSync(config, `${lines.join('\n')}\n`)
  // sshd, started by root, wants this folder; the package's start script makes it, which does not run here.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
  const child = spawn(client('sshd'), ['-D', '-e', '-f', config], { stdio: ['ignore', 'ignore', 'pipe'] })
  await answering(child, port, 'sshd')
  const knownHosts = join(folder, 'known_hosts')
  return { port, identity, knownHosts, close: () => ended(child) }
}

/** An rsync daemon whose module `files` is `root`, to read and write. */
export async function rsyncTarget(folder: string, root: string): Promise<Target> {
  const port = await freePort()
  const config = join(folder, 'rsyncd.conf')
  const { uid, gid } = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const lines = [
    ...['use chroot = no', `pid file = ${join(folder, 'rsyncd.pid')}`, `lock file = ${join(folder, 'rsyncd.lock')}`],
    ...['[files]', `path = ${root}`, 'read only = no', `uid = ${uid}`, `gid = ${gid}`],
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  const args = ['--daemon', '--no-detach', '--address=127.0.0.1', `--port=${port}`, `--config=${config}`]
  const child = spawn(client('rsync'), args, { stdio: ['ignore', 'ignore', 'pipe'] })
  await answering(child, port, 'rsync')
  return { port, close: () => ended(child) }
}

async function answering(child: ChildProcess, port: number, what: string): Promise<void> {
  const said: string[] = []
  child.stderr?.on('data', (chunk: Buffer) => said.push(chunk.toString()))
  try {
    await eventually(`${what} listens`, () => canConnect(port), 10_000)
  } catch (error) {
    child.kill('SIGKILL')
    throw new Error(`${what} does not listen: ${said.join('')}`, { cause: error })
  }
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const over = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await over
}

async function readText(path: string): Promise<string> {
  return (await import('node:fs/promises')).readFile(path, 'utf8')
}
