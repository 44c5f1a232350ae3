/** The source tree as the architecture test sees it: files, the code in them without comments and strings, and what they import. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

export interface SourceImport {
  /** As written. */
  readonly specifier: string
  /** Path from the root of the tree for a file of ours, else the package or `node:` name as written. */
  readonly target: string
  /** Nothing of it is left at run time. */
  readonly typeOnly: boolean
}

export interface SourceFile {
  /** From the root of the tree, with `/`. */
  readonly path: string
  readonly text: string
  /** Comments gone, the content of strings gone. */
  readonly code: string
  readonly imports: readonly SourceImport[]
}

const ROOT = join(import.meta.dirname, '../..')

/** All TypeScript files under the given top folders, generated code excluded. */
export function sourceFiles(...folders: readonly string[]): SourceFile[] {
  return folders
    .flatMap((folder) => globSync(`${folder}/**/*.{ts,mts,js,mjs}`, { cwd: ROOT }))
    .filter((path) => !path.startsWith('src/wire/generated/'))
    .sort()
    .map((path) => parseSource(path, readFileSync(join(ROOT, path), 'utf8')))
}

/** Every folder below the given ones. */
export function folderNames(...folders: readonly string[]): string[] {
  return folders.flatMap((folder) => globSync(`${folder}/**/`, { cwd: ROOT }))
}

/** A file's text taken apart. */
export function parseSource(path: string, text: string): SourceFile {
  const uncommented = strip(text, false)
  const imports = [...uncommented.matchAll(/\b(import|export)\s+(type\s+)?([^'";]*?)\bfrom\s*'([^']+)'/g)].map(
    (match): SourceImport => {
      const names = /^\{([^}]*)\}\s*$/.exec(match[3]!.trim())?.[1]
      const listed = names?.split(',').filter((name) => name.trim() !== '') ?? []
      const allTypes = listed.length > 0 && listed.every((name) => name.trim().startsWith('type '))
      return resolved(path, match[4]!, match[2] !== undefined || allTypes)
    },
  )
  const others = [
    ...uncommented.matchAll(
      /\bimport\s*\(\s*'([^']+)'\s*\)|\bimport\s+'([^']+)'|\brequire\)?\(\s*'([^']+)'\s*\)|createRequire\([^)]*\)\(\s*'([^']+)'\s*\)/g,
    ),
  ]
  for (const match of others) imports.push(resolved(path, (match[1] ?? match[2] ?? match[3] ?? match[4])!, false))
  return { path, text, code: strip(text, true), imports }
}

function resolved(from: string, specifier: string, typeOnly: boolean): SourceImport {
  const target = specifier.startsWith('.') ? relative(ROOT, join(ROOT, dirname(from), specifier)) : specifier
  return { specifier, target, typeOnly }
}

/** Code without comments, and if `strings` without what stands in quotes. Template literals keep their expressions. */
function strip(text: string, strings: boolean): string {
  // A regular expression is recognised by what stands before it; enough for code that a formatter has seen.
  const token =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`|(?<=[(,=:[!&|?{};\n]\s*)\/(?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/g
  return text.replace(token, (found) => {
    if (found.startsWith('/*') || found.startsWith('//')) return ' '
    if (!strings) return found
    if (found.startsWith('`')) return [...found.matchAll(/\$\{([^}]*)\}/g)].map(([, inner]) => ` ${inner} `).join(';')
    return "''"
  })
}
