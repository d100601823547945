# Runs the R of the cookbook, as it stands there, over its very questions.
#
# usage: Rscript cookbook.R FOLDER, in which NAME.R is a block and NAME.sql the question above it, run in the order of
# names. Prints a line for each block with a question: its name, the answer's rows, and the figures that its last line
# shows.

# Whatever a person would be warned of is an error here.
options(warn = 2)

# All finite numbers in a value.
figures <- function(shown) {
  columns <- if (is.data.frame(shown)) as.list(shown) else list(shown)
  counts <- vapply(columns, function(column) is.numeric(column) || is.logical(column), NA)
  numbers <- as.numeric(unlist(columns[counts]))
  numbers[is.finite(numbers)]
}

# Runs a block; its last line's value. What it prints is no figure.
run <- function(block, names) {
  shown <- NULL
  printed <- capture.output(for (line in parse(block)) shown <- eval(line, names))
  if (length(printed)) message(paste(printed, collapse = "\n"))
  shown
}

names <- new.env()
for (block in list.files(commandArgs(trailingOnly = TRUE), "[.]R$", full.names = TRUE)) {
  name <- sub("[.]R$", "", basename(block))
  question <- sub("[.]R$", ".sql", block)
  tryCatch({
    if (!file.exists(question)) {
      run(block, names)
      next
    }
    names$sql <- paste(readLines(question), collapse = "\n")
    names$answer <- names$ask(names$sql)
    rows <- nrow(names$answer)
    cat(name, rows, sprintf("%.17g", figures(run(block, names))), sep = "\t")
    cat("\n")
  }, error = function(wrong) stop(name, ": ", conditionMessage(wrong), call. = FALSE))
}
