/**
 * Makes `generated/messages.js` and `.d.ts` from `proto/*.proto` with protobufjs's static generator: `npm run proto`. With `--check`
 * it writes nothing and fails if the committed files differ from what the .proto files give, so that nobody edits either side alone.
 * A tool of the developer: no running node imports it.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const OUTPUT = ['src/wire/generated/messages.js', 'src/wire/generated/messages.d.ts'] as const
const PROTOS = ['link', 'directory', 'circuit', 'store', 'record', 'service'].map((name) => `proto/${name}.proto`)
const PBJS = 'node_modules/protobufjs-cli/bin/pbjs'
/** Encode and decode only: what else the generator offers (reflection, conversion, verification) is dead code here. */
const LEFT_OUT = ['create', 'verify', 'convert', 'delimited', 'typeurl', 'service'].map((part) => `--no-${part}`)
const OPTIONS = ['-t', 'static-module', '-w', 'esm', '-r', 'gyre', '--force-number', ...LEFT_OUT]
const NOTICE = '// Generated from proto/*.proto by src/wire/generate.ts: do not edit; run `npm run proto`.\n'

function pbjs(...args: readonly string[]): void {
  const run = spawnSync(process.execPath, [PBJS, ...OPTIONS, ...args, ...PROTOS], { cwd: ROOT, encoding: 'utf8' })
  if (run.status !== 0) throw new Error(`pbjs failed (${run.status}): ${run.stderr}`)
}

/** The code and its types. The types come from the comments, which the code itself does not need. */
function generate(): readonly [string, string] {
  const folder = mkdtempSync(join(tmpdir(), 'gyre-proto-'))
  try {
    pbjs('--dts', '-o', join(folder, 'typed.js'))
    pbjs('--no-comments', '-o', join(folder, 'bare.js'))
    const code = readFileSync(join(folder, 'bare.js'), 'utf8')
    const types = readFileSync(join(folder, 'typed.d.ts'), 'utf8').replace('import Long = require("long");\n', '')
    return [NOTICE + code, NOTICE + types]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function committed(path: string): string | null {
  try {
    return readFileSync(join(ROOT, path), 'utf8')
  } catch {
    return null // missing counts as different
  }
}

const fresh = generate()
if (process.argv.includes('--check')) {
  const stale = OUTPUT.filter((path, at) => committed(path) !== fresh[at])
  if (stale.length > 0) {
    console.error(`Out of date: ${stale.join(', ')}. Run \`npm run proto\` and commit the result.`)
    process.exit(1)
  }
} else {
  for (const [at, path] of OUTPUT.entries()) writeFileSync(join(ROOT, path), fresh[at]!)
}
