/** A folder of a site for tests: pages that link to each other, a style, a script, pictures and data, from seeded randomness. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { seededRng } from './seeded-rng.ts'

/** Writes a site of `files` files below `root`; each is reachable from its index page. Returns their paths. */
export function writeSiteTree(root: string, files: number, seed = 1): string[] {
  const rng = seededRng(seed)
  const paths: string[] = []
  const put = (path: string, content: string | Uint8Array) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), content)
    paths.push(path)
  }
  put('style.css', 'body { font: 1rem/1.5 serif; max-width: 40rem; margin: auto }\n')
  put('script.js', "document.title = 'scripted'\n")
  for (let at = 0; paths.length < files - 1; at++) {
    const folder = ['notes', 'pictures', 'data', 'deep/er/still'][at % 4]!
    if (at % 4 === 0) put(`${folder}/page-${at}.html`, page(`Page ${at}`, words(rng, 20 + rng.below(3000))))
    else if (at % 4 === 1) put(`${folder}/picture-${at}.png`, rng.bytes(200 + rng.below(40_000)))
    else if (at % 4 === 2) put(`${folder}/table-${at}.json`, JSON.stringify({ at, values: [...rng.bytes(rng.below(400))] }))
    else put(`${folder}/file-${at}.bin`, rng.bytes(rng.below(100_000)))
  }
  const links = paths.map((path) => `<li><a href="${path}">${path}</a></li>`).join('\n')
  put('index.html', page('Index', `<link rel="stylesheet" href="style.css"><ul>\n${links}\n</ul>`))
  return paths
}

function page(title: string, body: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>\n${body}\n</html>\n`
}

function words(rng: ReturnType<typeof seededRng>, count: number): string {
  const some = ['loop', 'hop', 'cell', 'apex', 'origin', 'share', 'link', 'member', 'neighbour', 'store']
  return Array.from({ length: count }, () => some[rng.below(some.length)]).join(' ')
}
