/** A raw TCP stream to a live service through a node's HTTP proxy: CONNECT, with the user's name for isolation, if there is one. */
import { request } from 'node:http'
import type { Socket } from 'node:net'
import type { TestnetNode } from '../../client/testnet/index.ts'

/** Who gives a `signal` has what is still being asked broken off by it. */
export function connectThrough(
  node: TestnetNode,
  host: string,
  port: number,
  user?: string,
  signal?: AbortSignal,
): Promise<Socket> {
  const { hostname, port: proxyPort } = new URL(node.proxy)
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const named = { 'proxy-authorization': `Basic ${Buffer.from(`${user}:x`).toString('base64')}` }
  const headers = { host: `${host}:${port}`, ...(user === undefined ? {} : named) }
  const path = `${host}:${port}`
  const asked = request({ host: hostname, port: proxyPort, method: 'CONNECT', path, headers, agent: false, signal })
  asked.on('connect', (response, socket) => {
    if (response.statusCode === 200) return resolve((socket as Socket).setNoDelay(true))
    socket.destroy()
    reject(new Error(`CONNECT: ${response.statusCode} ${response.headers['proxy-status'] ?? ''}`))
  })
  asked.on('error', reject).end()
  return promise
}
