/** The book of names: what a person calls an address, on this node alone. */
export { NameBook, openNameBook, parseBook } from './book.ts'
export { type Comparison, compareNames, IMPORT_BYTES_MAX, type ImportedName, parseNames } from './import.ts'
export { isPetname, isSource, NAME_CHARS_MAX, NAMES_MAX, SOURCE_CHARS_MAX, skeleton } from './rules.ts'
