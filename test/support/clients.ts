/**
 * Real clients for end-to-end tests: finds them on this machine, or skips the test. With GYRE_NEED_CLIENTS=1 (as `.ci/run` sets it) one that
 * is missing fails its test instead, so that a passing run means that each was used.
 */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Debian's packages that bring the clients used in `test/e2e/`. */
export const CLIENT_PACKAGES = [
  ...[
    'aria2',
    'chromium',
    'curl',
    'ffmpeg',
    'git',
    'netcat-openbsd',
    'openssh-client',
    'openssh-server',
    'proxychains4',
    'rsync',
    'torsocks',
    'wget',
  ],
] as const

const FOLDERS = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/usr/sbin', '/bin', '/sbin', '/usr/lib/git-core']

/** Where `tool` is, or `null`. */
export function findClient(tool: string): string | null {
  for (const folder of FOLDERS) {
    const path = join(folder, tool)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {} // not in this folder
  }
  return null
}

/** Options of a test that uses `tools`: why it is skipped, or `false`. With GYRE_NEED_CLIENTS=1 nothing is skipped. */
export function needs(...tools: readonly string[]): { readonly skip: string | false } {
  const missing = tools.filter((tool) => findClient(tool) === null)
  if (missing.length === 0 || process.env.GYRE_NEED_CLIENTS === '1') return { skip: false }
  return { skip: `not on this machine: ${missing.join(', ')}` }
}

/** Where `tool` is. Throws if it is nowhere. */
export function client(tool: string): string {
  const path = findClient(tool)
  if (path === null) throw new Error(`${tool} is not on this machine`)
  return path
}
