/** `gyre keep`, `unkeep`, `kept` and `receipt`: what a node keeps alive, and how well something is stored. */
import { systemClock } from '../../src/runtime/index.ts'
import type { KeepStatus, Receipt } from '../library.ts'
import { findNode, getJson, type NodeChoice, sendJson } from './api-client.ts'
import { EXIT, formatDate, Progress, print, table } from './output.ts'

export interface KeepFlags extends NodeChoice {
  readonly json?: boolean | undefined
  /** `false`: do not wait for the check. */
  readonly wait?: boolean | undefined
}

const POLL_MS = 200

/** Keeps `address` and waits for its first check. Exit code 3 if it is lost or empty, 4 if it could not be checked. */
export async function keep(address: string, flags: KeepFlags, signal: AbortSignal): Promise<void> {
  const node = findNode(flags, process.env)
  const path = `/v1/keeps/${encodeURIComponent(address.toLowerCase())}`
  let status = await sendJson<KeepStatus>(node, { method: 'PUT', path, signal })
  const progress = new Progress()
  try {
    while (flags.wait !== false && status.state === 'checking') {
      progress.show('checking its shares')
      await systemClock.sleep(POLL_MS, { signal })
      status = await getJson<KeepStatus>(node, path, signal)
    }
  } finally {
    progress.clear()
  }
  if (status.state === 'lost' || status.state === 'empty') process.exitCode = EXIT.notFound
  if (status.state === 'failed') process.exitCode = EXIT.network
  await print(flags.json === true ? `${JSON.stringify(status)}\n` : `${textOf(status)}\n`)
}

export async function unkeep(address: string, flags: KeepFlags, signal: AbortSignal): Promise<void> {
  const path = `/v1/keeps/${encodeURIComponent(address.toLowerCase())}`
  await sendJson(findNode(flags, process.env), { method: 'DELETE', path, signal })
  if (flags.json === true) await print(`${JSON.stringify({ removed: address })}\n`)
}

export async function kept(flags: KeepFlags, signal: AbortSignal): Promise<void> {
  const found = await getJson<{ keeps: readonly KeepStatus[] }>(findNode(flags, process.env), '/v1/keeps', signal)
  if (flags.json === true) return print(`${JSON.stringify(found)}\n`)
  if (found.keeps.length === 0) return print('nothing is kept yet\n')
  const rows = found.keeps.map((one) => [
    ...[one.address, one.source === 'own' ? 'published here' : 'asked for', stateText(one)],
    one.checkedMs === null ? 'never' : formatDate(one.checkedMs),
  ])
  await print(table([['address', 'why', 'state', 'checked'], ...rows]))
}

/** Asks the holders of `address` and prints what it survives. Exit code 3 if it is not whole. */
export async function receipt(address: string, flags: KeepFlags, signal: AbortSignal): Promise<void> {
  const path = `/v1/receipts/${encodeURIComponent(address.toLowerCase())}`
  const found = await getJson<Receipt>(findNode(flags, process.env), path, signal)
  if (found.survives < 0) process.exitCode = EXIT.notFound
  await print(flags.json === true ? `${JSON.stringify(found)}\n` : `${receiptText(found)}\n`)
}

/** A receipt in a sentence. */
export function receiptText({ survives, of, checked, parts }: Receipt): string {
  const part = checked < parts ? `${checked} of ${parts} shares were asked for` : `all ${parts} shares were asked for`
  if (survives < 0) return `not whole now; ${part}, on ${of} nodes`
  return `survives the loss of any ${survives} of ${of} nodes that hold it; ${part}`
}

function textOf(status: KeepStatus): string {
  const { checked, missing, mended } = status
  const found = checked === 0 ? '' : `; ${checked} shares asked for, ${missing} missing, ${mended} put back`
  return `${stateText(status)}${found}`
}

function stateText({ state, survives, of, code }: KeepStatus): string {
  switch (state) {
    case 'whole':
    case 'weak':
      return `${state}: survives the loss of any ${survives} of ${of} nodes`
    case 'lost':
      return 'lost: too few shares of a part are left'
    case 'empty':
      return 'the key has no site'
    case 'failed':
      return `could not be checked (${code})`
    default:
      return state
  }
}
