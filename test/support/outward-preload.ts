/** `node --import` of this file: every look-up and connection of the process is a line in the file that OUTWARD_LOG names. */
import { appendFileSync } from 'node:fs'
import { watchOutward } from './outward.ts'

const log = process.env.OUTWARD_LOG
if (log !== undefined) watchOutward((call) => appendFileSync(log, `${process.pid} ${call}\n`))
