#!/usr/bin/env node
/**
 * The `gyre` command as installed: runs `main.ts` with a Node that can (24 or newer): this one, or the one that `npm ci` put into
 * `node_modules`. Plain JavaScript in the oldest syntax of use, for it must run, and explain itself, on any Node.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const NODE_LEAST = 24
const here = dirname(fileURLToPath(import.meta.url))
const main = join(here, 'main.ts')

if (Number(process.versions.node.split('.')[0]) >= NODE_LEAST) {
  await import('./main.ts')
} else {
  const bundled = join(here, '..', '..', 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  if (existsSync(bundled)) {
    run(bundled)
  } else {
    const why = `this is ${process.version}, and there is none in node_modules.`
    process.stderr.write(
      `gyre: Node ${NODE_LEAST} or newer is needed; ${why}\nRun "npm ci" in the project's folder, or install a newer Node.\n`,
    )
    process.exitCode = 2
  }
}

/** Runs `main.ts` in place of this process, as far as that can be: same terminal, signals passed on, same exit code. */
function run(node) {
  const child = spawn(node, ['--max-semi-space-size=4', main, ...process.argv.slice(2)], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    process.stderr.write(`gyre: ${node} cannot be run (${error.code}). Run "npm ci" again.\n`)
    process.exitCode = 2
  })
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + (constants.signals[signal] ?? 0)
  })
}
