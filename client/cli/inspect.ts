/** `gyre status`, `health`, `peers`, `loops` and `keys`: what the node says of itself, for people or as JSON. */
import type { LoopStatus, NodeStatus, PacedStatus, PeerStatus, SiteStatus } from '../library.ts'
import { findNode, getJson, type NodeChoice } from './api-client.ts'
import { formatBytes, formatDate, formatSeconds, print, table } from './output.ts'

export interface InspectFlags extends NodeChoice {
  readonly json?: boolean | undefined
}

export async function status(flags: InspectFlags, signal: AbortSignal): Promise<void> {
  const found = await getJson<NodeStatus>(findNode(flags, process.env), '/v1/status', signal)
  if (flags.json === true) return print(`${JSON.stringify(found)}\n`)
  const rows = [
    ['node', found.id],
    ['network', found.network],
    ['version', `${found.version}, up ${formatSeconds(found.uptimeSeconds)}`],
    ['nodes known', String(found.nodesKnown)],
    ['neighbours', String(found.neighbours)],
    ['loops ready', String(found.loopsReady)],
    ['clock', found.clock],
    ...(found.paced === undefined ? [] : pacedRows(found.paced)),
    ['store', `${found.sharesHeld} shares, ${formatBytes(found.storeBytes)} of ${formatBytes(found.storeQuotaBytes)}`],
    ['cipher', found.cipher],
  ]
  await print(table(rows) + found.warnings.map((warning) => `warning: ${warning}\n`).join(''))
}

function pacedRows(paced: PacedStatus): [string, string][] {
  const { cover, holdMs, loops, topRate, cellsPerSecond, bytesPerHour, hiddenAmong, waiting, waitSeconds, noiseCells } = paced
  const waits = waiting === 0 ? [] : [['waiting', `${waiting} requests, ${waitSeconds} s at least`] as [string, string]]
  return [
    [
      'loops by time',
      `${loops}, the fastest of ${topRate} cells/s, all together ${cellsPerSecond}; hold ${holdMs} ms, cover ${cover}`,
    ],
    ['cost', `${formatBytes(bytesPerHour)} an hour each way, beside what others' loops bring`],
    ['hides among', `${hiddenAmong} nodes`],
    ['cells lost', String(noiseCells)],
    ...waits,
  ]
}

/** Errors: `NODE_NOT_READY`, `NODE_UNREACHABLE`: exit code 4. For the health checks of containers and scripts. */
export async function health(flags: InspectFlags, signal: AbortSignal): Promise<void> {
  const found = await getJson<{ ready: boolean }>(findNode(flags, process.env), '/v1/health', signal)
  return print(flags.json === true ? `${JSON.stringify(found)}\n` : 'ready\n')
}

export async function peers(flags: InspectFlags, signal: AbortSignal): Promise<void> {
  const found = await getJson<{ peers: readonly PeerStatus[] }>(findNode(flags, process.env), '/v1/peers', signal)
  if (flags.json === true) return print(`${JSON.stringify(found)}\n`)
  if (found.peers.length === 0) return print('no neighbours yet\n')
  await print(
    table([
      ['neighbour', 'link', 'opened by'],
      ...found.peers.map((one) => [one.id, one.transport, one.chosen ? 'this node' : 'it']),
    ]),
  )
}

export async function loops(flags: InspectFlags, signal: AbortSignal): Promise<void> {
  const found = await getJson<{ loops: readonly LoopStatus[] }>(findNode(flags, process.env), '/v1/loops', signal)
  if (flags.json === true) return print(`${JSON.stringify(found)}\n`)
  if (found.loops.length === 0) return print('no loops yet\n')
  await print(
    table([['other members', 'clock', 'state'], ...found.loops.map((one) => [String(one.members), one.clock, one.state])]),
  )
}

export async function sites(flags: InspectFlags, signal: AbortSignal): Promise<void> {
  const found = await getJson<{ sites: readonly SiteStatus[] }>(findNode(flags, process.env), '/v1/sites', signal)
  if (flags.json === true) return print(`${JSON.stringify(found)}\n`)
  if (found.sites.length === 0) return print('no sites yet\n')
  const rows = found.sites.map((one) => [
    ...[one.key, one.address, String(one.version), String(one.files), formatBytes(one.bytes), formatDate(one.publishedMs)],
  ])
  await print(table([['key', 'address', 'version', 'files', 'size', 'published'], ...rows]))
}

/** The node's public identity and the folder that holds its private keys; never the keys. */
export async function keys(flags: InspectFlags, signal: AbortSignal): Promise<void> {
  const node = findNode(flags, process.env)
  const { id } = await getJson<NodeStatus>(node, '/v1/status', signal)
  const folder = node.dataDir
  if (flags.json === true) return print(`${JSON.stringify({ id, dataDir: folder })}\n`)
  await print(
    table([
      ['node id', id],
      ['keys in', folder],
    ]),
  )
}
