/** `gyre tokens add|list|remove`: tokens of the API for single programs, each with a scope. Needs the node's own token, or one of scope admin. */
import { call, findNode, getJson, type NodeChoice, parseJson, readText } from './api-client.ts'
import { print, table, UsageError } from './output.ts'

export interface TokenFlags extends NodeChoice {
  readonly scope?: string | undefined
  readonly json?: boolean | undefined
}

interface Entry {
  readonly name: string
  readonly scope: string
  readonly addedMs: number
}

/** Prints a new token, which nobody can print again. */
export async function addToken(name: string, flags: TokenFlags, signal: AbortSignal): Promise<void> {
  const body = JSON.stringify({ name, scope: flags.scope ?? 'read' })
  const response = await call(findNode(flags, process.env), {
    method: 'POST',
    path: '/v1/tokens',
    headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) },
    signal,
    send: (request) => request.end(body),
  })
  const made = parseJson(await readText(response, signal)) as Entry & { readonly token: string }
  await print(flags.json === true ? `${JSON.stringify(made)}\n` : `${made.token}\n`)
}

export async function listTokens(flags: TokenFlags, signal: AbortSignal): Promise<void> {
  const found = await getJson<{ tokens: readonly Entry[] }>(findNode(flags, process.env), '/v1/tokens', signal)
  if (flags.json === true) return print(`${JSON.stringify(found)}\n`)
  if (found.tokens.length === 0) return print('no tokens besides the one of the node itself\n')
  const rows = found.tokens.map(({ name, scope, addedMs }) => [name, scope, new Date(addedMs).toISOString().slice(0, 10)])
  await print(table([['name', 'scope', 'since'], ...rows]))
}

/** Takes a token back, at once. Errors: `API_NOT_FOUND` if there is none. */
export async function removeToken(name: string, flags: TokenFlags, signal: AbortSignal): Promise<void> {
  if (!/^[a-z0-9-]{1,32}$/.test(name))
    throw new UsageError('A token has a name of 1 to 32 lower case letters, digits and hyphens.')
  const response = await call(findNode(flags, process.env), { method: 'DELETE', path: `/v1/tokens/${name}`, signal })
  response.resume()
  if (flags.json === true) await print(`${JSON.stringify({ removed: name })}\n`)
}
